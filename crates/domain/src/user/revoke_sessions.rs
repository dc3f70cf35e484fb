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
        Ok(vec![UserEvent::SessionsRevoked(SessionsRevoked { session_ids, reason })])
    }
}
