//! Confirm an enrolled authenticator app by its first code, which makes it a second factor.

use schemas::user::{TotpEnabled, UserEvent};
use schemas::{Sealed, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmTotp {
    /// The one that the code was checked against.
    pub secret: Sealed,
    /// Time step of the code.
    pub totp_step: i64,
    pub session_id: SessionId,
    pub recovery_code_nonce: Sealed,
    pub recovery_code_hashes: Vec<Sha256Digest>,
}

impl Decide<User> for ConfirmTotp {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        user.session(self.session_id, ctx.now)
            .ok_or(Error::SessionEnded)?;
        let enrolment = user.factors.enrolment(ctx.now);
        if enrolment.is_none_or(|enrolment| enrolment.secret != self.secret) {
            return Err(Error::NoEnrolment);
        }
        Ok(vec![UserEvent::TotpEnabled(TotpEnabled {
            session_id: self.session_id,
            totp_step: self.totp_step,
            enabled_at: ctx.now,
            recovery_code_nonce: self.recovery_code_nonce,
            recovery_code_hashes: self.recovery_code_hashes,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, given, logged_in, minutes, registered, sealed, session, totp_enabled, totp_started,
    };

    fn confirm(secret: &str) -> ConfirmTotp {
        let UserEvent::TotpEnabled(enabled) = totp_enabled() else {
            unreachable!()
        };
        ConfirmTotp {
            secret: sealed(secret),
            totp_step: enabled.totp_step,
            session_id: session(1),
            recovery_code_nonce: enabled.recovery_code_nonce,
            recovery_code_hashes: enabled.recovery_code_hashes,
        }
    }

    fn started() -> Given<User> {
        given([registered(), logged_in(session(1)), totp_started()])
    }

    #[test]
    fn the_first_code_enables_the_app_and_counts_as_shown_in_its_session() {
        started().when(confirm("secret")).then([totp_enabled()]);
        let enabled = started().and(confirm("secret"));
        let user = enabled.state();
        assert!(user.factors.are_active() && user.factors.enrolment.is_none());
        assert_eq!(user.factors.recovery_codes.len(), 2);
        assert_eq!(user.credentials, 2);
        assert_eq!(user.assured(session(1), minutes(9)), Ok(()));
        assert_eq!(user.assured(session(1), minutes(10)), Err(Error::StepUpRequired));
    }

    #[test]
    fn an_enrolment_that_is_over_or_was_replaced_is_not_confirmed() {
        let confirmed = started().and(confirm("secret"));
        confirmed.when(confirm("secret")).then_error(Error::NoEnrolment);
        started()
            .at(minutes(10))
            .when(confirm("secret"))
            .then_error(Error::NoEnrolment);
        started().when(confirm("another")).then_error(Error::NoEnrolment);
    }
}
