//! Replace the recovery codes by new ones.

use schemas::user::{RecoveryCodesReplaced, UserEvent};
use schemas::{Sealed, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceRecoveryCodes {
    pub session_id: SessionId,
    pub recovery_code_nonce: Sealed,
    pub recovery_code_hashes: Vec<Sha256Digest>,
}

impl Decide<User> for ReplaceRecoveryCodes {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        if !user.factors.are_active() {
            return Err(Error::NoSuchFactor);
        }
        user.assured(self.session_id, ctx.now)?;
        Ok(vec![UserEvent::RecoveryCodesReplaced(RecoveryCodesReplaced {
            recovery_code_nonce: self.recovery_code_nonce,
            recovery_code_hashes: self.recovery_code_hashes,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, given, minutes, registered, sealed, session, with_totp};

    fn replace() -> ReplaceRecoveryCodes {
        ReplaceRecoveryCodes {
            session_id: session(1),
            recovery_code_nonce: sealed("nonce"),
            recovery_code_hashes: vec![digest("third code")],
        }
    }

    #[test]
    fn new_codes_void_the_earlier_ones() {
        let after = with_totp().and(replace());
        let codes: Vec<_> = after.state().factors.recovery_codes.iter().collect();
        assert_eq!(codes, [&digest("third code")]);
    }

    #[test]
    fn codes_are_for_users_with_a_factor_who_showed_it() {
        given([registered()])
            .when(replace())
            .then_error(Error::NoSuchFactor);
        with_totp()
            .at(minutes(10))
            .when(replace())
            .then_error(Error::StepUpRequired);
    }
}
