//! End all sessions, or all but the one that asks.

use schemas::SessionId;
use schemas::user::{RevokeReason, SessionsRevoked, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeSessions {
    pub except: Option<SessionId>,
    pub reason: RevokeReason,
}

impl Decide<User> for RevokeSessions {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        let session_ids = user.live_session_ids(ctx.now, self.except);
        if session_ids.is_empty() {
            return Ok(vec![]);
        }
        let reason = self.reason;
        Ok(vec![UserEvent::SessionsRevoked(SessionsRevoked {
            session_ids,
            reason,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, NOW, given, logged_in, login, registered, session};

    fn revoke(except: Option<SessionId>) -> RevokeSessions {
        RevokeSessions {
            except,
            reason: RevokeReason::UserRequest,
        }
    }

    fn revoked(session_ids: Vec<SessionId>) -> UserEvent {
        let reason = RevokeReason::UserRequest;
        UserEvent::SessionsRevoked(SessionsRevoked { session_ids, reason })
    }

    fn signed_in_twice() -> Given<User> {
        let expired = UserEvent::LoggedIn(login(session(3), NOW));
        given([
            registered(),
            logged_in(session(1)),
            logged_in(session(2)),
            expired,
        ])
    }

    #[test]
    fn all_live_sessions_end() {
        signed_in_twice()
            .when(revoke(None))
            .then([revoked(vec![session(1), session(2)])]);
    }

    #[test]
    fn the_session_that_asks_may_stay() {
        let after = signed_in_twice().and(revoke(Some(session(2))));
        assert!(after.state().session(session(2), NOW).is_some());
        assert!(after.state().session(session(1), NOW).is_none());
    }

    #[test]
    fn nothing_is_recorded_without_a_session_to_end() {
        given([registered()]).when(revoke(None)).then_nothing();
        signed_in_twice()
            .and(revoke(None))
            .when(revoke(None))
            .then_nothing();
    }

    #[test]
    fn an_unknown_user_has_no_sessions_to_end() {
        given([]).when(revoke(None)).then_error(Error::NotFound);
    }
}
