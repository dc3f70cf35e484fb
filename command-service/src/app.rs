//! What every endpoint works with.

use std::sync::Arc;
use std::time::Duration;

use access_node::AccessNode;
use event_log::{Bus, Instance, KeyRing};
use schemas::{IndexKey, KeyEncryptionKey, LogId};
use service_kit::at_least::LogIdentity;
use service_kit::auth::Authenticate;
use service_kit::client_info::TrustsProxy;
use service_kit::jwt::{Signer, Verifier};
use service_kit::keys::TokenKey;
use service_kit::service_key::KeyGuesses;
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
use crate::write_limits::Writes;

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
    pub writes: Writes,
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
    type Standings = AccessNode;

    fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn standings(&self) -> &AccessNode {
        &self.node
    }

    fn key_guesses(&self) -> &KeyGuesses {
        &self.key_guesses
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
