//! Start enrolling an authenticator app: its secret waits for a first code.

use schemas::user::{TotpEnrolmentStarted, UserEvent};
use schemas::{Sealed, SessionId};
use serde::{Deserialize, Serialize};

use super::factors::ENROLMENT_LIVES;
use super::{Error, User};
use crate::decider::{Context, Decide};

/// Started again, the earlier secret is void; one in use stays until the new one is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTotp {
    pub secret: Sealed,
    /// The session that asks.
    pub session_id: SessionId,
}

impl Decide<User> for StartTotp {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        user.assured(self.session_id, ctx.now)?;
        Ok(vec![UserEvent::TotpEnrolmentStarted(TotpEnrolmentStarted {
            secret: self.secret,
            expires_at: ctx.now.plus(ENROLMENT_LIVES),
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        given, logged_in, minutes, registered, sealed, session, user_deactivated, with_totp,
    };

    fn start() -> StartTotp {
        StartTotp {
            secret: sealed("second secret"),
            session_id: session(1),
        }
    }

    #[test]
    fn an_enrolment_waits_ten_minutes_and_enables_nothing() {
        let started = given([registered(), logged_in(session(1))]).and(start());
        let factors = &started.state().factors;
        assert!(!factors.are_active());
        assert!(factors.enrolment(minutes(9)).is_some() && factors.enrolment(minutes(10)).is_none());
    }

    #[test]
    fn an_app_in_use_is_replaced_only_after_showing_it() {
        with_totp()
            .at(minutes(11))
            .when(start())
            .then_error(Error::StepUpRequired);
        let started = with_totp().and(start());
        assert_eq!(
            started.state().factors.totp.as_ref().unwrap().secret,
            sealed("secret")
        );
    }

    #[test]
    fn only_active_users_enrol() {
        given([]).when(start()).then_error(Error::NotFound);
        given([registered(), user_deactivated()])
            .when(start())
            .then_error(Error::Deactivated);
    }
}
