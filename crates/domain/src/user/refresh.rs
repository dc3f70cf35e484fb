//! Refresh a session: its refresh token is replaced, and one that comes back ends the session.

use schemas::user::{RefreshReuseDetected, SessionRefreshed, UserEvent};
use schemas::{Sealed, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    pub session_id: SessionId,
    pub presented_generation: i32,
    pub presented_hash: Sha256Digest,
    /// Of the new token, as is its hash.
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
}

impl Decide<User> for Refresh {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let session = user.session(self.session_id, ctx.now).ok_or(Error::SessionEnded)?;
        if self.presented_generation < session.generation {
            return Ok(vec![UserEvent::RefreshReuseDetected(RefreshReuseDetected {
                session_id: self.session_id,
                presented_generation: self.presented_generation,
                current_generation: session.generation,
            })]);
        }
        let current = self.presented_generation == session.generation;
        if !current || self.presented_hash != session.refresh_token_hash {
            return Err(Error::InvalidToken);
        }
        Ok(vec![UserEvent::SessionRefreshed(SessionRefreshed {
            session_id: self.session_id,
            generation: session.generation.checked_add(1).ok_or(Error::SessionEnded)?,
            nonce: self.nonce,
            refresh_token_hash: self.refresh_token_hash,
            ip_network: self.ip_network,
            ip_address: self.ip_address,
            user_agent: self.user_agent,
        })])
    }
}
