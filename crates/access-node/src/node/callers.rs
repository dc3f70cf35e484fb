//! What a service that follows the log knows of those who call it.

use std::time::Duration;

use schemas::{KeyId, SessionId, Timestamp, UserId};
use service_kit::auth::{KeyState, SessionState, Standings};
use service_kit::service_key::ServiceKey;

use super::AccessNode;
use crate::keys::KeyStanding;
use crate::sessions::SessionStanding;

/// How long a session or key not heard of is waited for: it may have begun a moment ago.
const SETTLE: Duration = Duration::from_secs(2);

/// A node that still reads the log, or cannot read on, knows nothing for sure, not of a revocation either: every
/// caller is told to come back.
impl Standings for AccessNode {
    fn session_state(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionState {
        if self.trouble().is_some() {
            return SessionState::Unknown;
        }
        self.session_standing(user, session, now).into()
    }

    async fn settle_session(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionState {
        if self.trouble().is_some() {
            return SessionState::Unknown;
        }
        let settled = self.settled_session_standing(user, session, now, SETTLE);
        settled.await.into()
    }

    fn key_state(&self, key: &ServiceKey, now: Timestamp) -> KeyState {
        if self.trouble().is_some() {
            return KeyState::Unknown;
        }
        self.key_standing(key.user_id, key.key_id, key.hash(), now).into()
    }

    async fn settle_key(&self, key: &ServiceKey, now: Timestamp) -> KeyState {
        if self.trouble().is_some() {
            return KeyState::Unknown;
        }
        let settled = self.settled_key_standing(key.user_id, key.key_id, key.hash(), now, SETTLE);
        settled.await.into()
    }

    fn has_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<bool> {
        if self.trouble().is_some() {
            return None;
        }
        Self::has_key(self, user, key, now)
    }
}

impl From<SessionStanding> for SessionState {
    fn from(standing: SessionStanding) -> Self {
        match standing {
            SessionStanding::Live => Self::Live,
            SessionStanding::Ended => Self::Ended,
            SessionStanding::Unknown => Self::Unknown,
        }
    }
}

impl From<KeyStanding> for KeyState {
    fn from(standing: KeyStanding) -> Self {
        match standing {
            KeyStanding::Good { .. } => Self::Good,
            KeyStanding::Bad => Self::Bad,
            KeyStanding::Unknown => Self::Unknown,
        }
    }
}
