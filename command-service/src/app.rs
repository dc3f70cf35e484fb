//! What every endpoint works with.

use std::sync::Arc;
use std::time::Duration;

use access_node::{AccessNode, KeyStanding, SessionStanding};
use event_log::{Bus, Instance, KeyRing};
use schemas::{IndexKey, KeyEncryptionKey, KeyId, LogId, SessionId, Timestamp, UserId};
use service_kit::at_least::LogIdentity;
use service_kit::auth::{Authenticate, KeyState, SessionState};
use service_kit::client_info::TrustsProxy;
use service_kit::jwt::{Signer, Verifier};
use service_kit::keys::TokenKey;
use service_kit::service_key::{KeyGuesses, ServiceKey};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::attempts::Attempts;
use crate::config::{Registration, SessionConfig};
use crate::decoys::Decoys;
use crate::guesses::Reminders;
use crate::names::Names;
use crate::one_time::OneTimeConfig;
use crate::passkeys::Passkeys;
use crate::passwords::Passwords;
use crate::peers::Numbers;
use crate::places::Places;
use crate::recordings::Recordings;

/// How long a session not heard of is waited for.
const SETTLE: Duration = Duration::from_secs(1);

/// Shared by all requests.
pub struct App {
    /// This run of the program, as its peers know it.
    pub instance: Instance,
    pub bus: Bus,
    /// The calls of other instances that came.
    pub peer_calls: Numbers,
    pub node: Arc<AccessNode>,
    pub keys: KeyRing,
    pub index_key: IndexKey,
    pub key_encryption_key: KeyEncryptionKey,
    pub token_key: TokenKey,
    pub signer: Signer,
    pub verifier: Verifier,
    pub passwords: Passwords,
    /// Of each user's passwords so many are not taken again.
    pub password_history: usize,
    pub passkeys: Passkeys,
    pub attempts: Attempts,
    pub decoys: Decoys,
    pub one_time: OneTimeConfig,
    /// Places for password resets that are recorded behind their answers.
    pub resets: Arc<Semaphore>,
    pub key_guesses: KeyGuesses,
    pub reminders: Reminders,
    pub recordings: Recordings,
    /// Places for imports: each holds its lines in memory.
    pub imports: Arc<Semaphore>,
    /// Aggregates that may have changed since they were saved when an import begins.
    pub most_unsaved: usize,
    pub registration: Registration,
    pub sessions: SessionConfig,
    pub places: Places,
    /// As authenticator apps show it.
    pub relying_party_name: String,
    pub token_ttl: Duration,
    /// How long a change waits for a second person.
    pub approval_ttl: Duration,
    pub trust_proxy: bool,
    pub names: Names,
    /// Work that a closed connection must not stop half way.
    pub sagas: TaskTracker,
}

impl Authenticate for App {
    fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn session_state(&self, user: UserId, session: SessionId) -> SessionState {
        // A node that stopped following knows of no revocation any more.
        if self.node.trouble().is_some() {
            return SessionState::Unknown;
        }
        state(self.node.session_standing(user, session, Timestamp::now()))
    }

    /// A session may have begun a moment ago: what is in the log by now decides.
    async fn settle_session(&self, user: UserId, session: SessionId) -> SessionState {
        if self.node.trouble().is_some() {
            return SessionState::Unknown;
        }
        let now = Timestamp::now();
        state(
            self.node
                .settled_session_standing(user, session, now, SETTLE)
                .await,
        )
    }

    fn key_state(&self, key: &ServiceKey) -> KeyState {
        if self.node.trouble().is_some() {
            return KeyState::Unknown;
        }
        let now = Timestamp::now();
        key_state(self.node.key_standing(key.user_id, key.key_id, key.hash(), now))
    }

    async fn settle_key(&self, key: &ServiceKey) -> KeyState {
        if self.node.trouble().is_some() {
            return KeyState::Unknown;
        }
        let (user, id, hash) = (key.user_id, key.key_id, key.hash());
        let settled = self
            .node
            .settled_key_standing(user, id, hash, Timestamp::now(), SETTLE);
        key_state(settled.await)
    }

    fn has_key(&self, user: UserId, key: KeyId) -> Option<bool> {
        if self.node.trouble().is_some() {
            return None;
        }
        self.node.has_key(user, key, Timestamp::now())
    }

    fn key_guesses(&self) -> &KeyGuesses {
        &self.key_guesses
    }
}

const fn key_state(standing: KeyStanding) -> KeyState {
    match standing {
        KeyStanding::Good { .. } => KeyState::Good,
        KeyStanding::Bad => KeyState::Bad,
        KeyStanding::Unknown => KeyState::Unknown,
    }
}

fn state(standing: SessionStanding) -> SessionState {
    match standing {
        SessionStanding::Live => SessionState::Live,
        SessionStanding::Ended => SessionState::Ended,
        SessionStanding::Unknown => SessionState::Unknown,
    }
}

impl LogIdentity for App {
    fn log_id(&self) -> LogId {
        self.node.log_id()
    }
}

impl TrustsProxy for App {
    fn trusts_proxy(&self) -> bool {
        self.trust_proxy
    }
}
