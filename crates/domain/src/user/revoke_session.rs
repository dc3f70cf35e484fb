//! End one session.

use schemas::SessionId;
use schemas::user::{RevokeReason, SessionRevoked, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeSession {
    pub session_id: SessionId,
    pub reason: RevokeReason,
}

impl Decide<User> for RevokeSession {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        // An expired one is as unknown as one long forgotten: the answer must not tell them apart.
        user.session(self.session_id, ctx.now)
            .ok_or(Error::NoSuchSession)?;
        Ok(vec![UserEvent::SessionRevoked(SessionRevoked {
            session_id: self.session_id,
            reason: self.reason,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, logged_in, minutes, registered, session};

    fn revoke(number: u128) -> RevokeSession {
        RevokeSession {
            session_id: session(number),
            reason: RevokeReason::Logout,
        }
    }

    #[test]
    fn a_live_session_ends() {
        let (session_id, reason) = (session(1), RevokeReason::Logout);
        let revoked = UserEvent::SessionRevoked(SessionRevoked { session_id, reason });
        let signed_in = || given([registered(), logged_in(session(1))]);
        signed_in().when(revoke(1)).then([revoked]);
        assert!(signed_in().and(revoke(1)).state().sessions.is_empty());
    }

    #[test]
    fn an_unknown_ended_or_expired_session_is_not_there() {
        let signed_in = || given([registered(), logged_in(session(1))]);
        signed_in().when(revoke(2)).then_error(Error::NoSuchSession);
        signed_in()
            .and(revoke(1))
            .when(revoke(1))
            .then_error(Error::NoSuchSession);
        signed_in()
            .at(minutes(60))
            .when(revoke(1))
            .then_error(Error::NoSuchSession);
        given([]).when(revoke(1)).then_error(Error::NoSuchSession);
    }
}
