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
        user.session(self.session_id, ctx.now).ok_or(Error::NoSuchSession)?;
        Ok(vec![UserEvent::SessionRevoked(SessionRevoked {
            session_id: self.session_id,
            reason: self.reason,
        })])
    }
}
