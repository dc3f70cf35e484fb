//! What every endpoint works with.

use std::sync::Arc;

use access_node::{AccessNode, KeyStanding, SessionStanding};
use domain::access::{CompiledCatalog, Decision, Standing, UserAccess};
use metrics::{Counter, counter};
use schemas::{KeyId, LogId, Position, SessionId, Timestamp, UserId};
use service_kit::at_least::LogIdentity;
use service_kit::auth::{Authenticate, KeyState, SessionState};
use service_kit::consistency::ConsistencyToken;
use service_kit::jwt::{TokenConfig, Verifier};
use service_kit::problem::{Problem, ProblemType};
use service_kit::service_key::{KeyGuesses, ServiceKey};

use crate::freshness::{WAIT, not_yet};
use crate::personal_data::DataKeys;
use crate::reads::ShardReads;

/// Shared by all requests.
pub struct App {
    pub node: Arc<AccessNode>,
    pub verifier: Verifier,
    pub tokens: TokenConfig,
    pub data_keys: DataKeys,
    pub shards: ShardReads,
    /// Root URL of this service as callers know it.
    pub public_url: String,
    pub decisions: Decisions,
    pub key_guesses: KeyGuesses,
}

/// Counters made once: looking them up costs as much as a check.
pub struct Decisions {
    allowed: Counter,
    denied: Counter,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            allowed: counter!("access_decisions_total", "decision" => "allowed"),
            denied: counter!("access_decisions_total", "decision" => "denied"),
        }
    }
}

impl Decisions {
    pub fn count(&self, allowed: bool) {
        if allowed {
            self.allowed.increment(1);
        } else {
            self.denied.increment(1);
        }
    }
}

impl App {
    /// What a user may do, or as far as a key of a service account goes.
    pub fn check(
        &self,
        user: UserId,
        key: Option<KeyId>,
        resource: &str,
        action: &str,
        now: Timestamp,
    ) -> Decision {
        match key {
            None => self.node.check(user, resource, action, now),
            Some(key) => self.node.check_with_key(user, key, resource, action, now),
        }
    }

    pub fn token(&self, positions: impl IntoIterator<Item = Position>) -> ConsistencyToken {
        ConsistencyToken::from_positions(self.node.log_id(), positions)
    }

    /// What an answer about this user from memory rests on; take it before reading.
    pub fn basis(&self, user: UserId) -> ConsistencyToken {
        self.token(self.node.basis(user))
    }

    /// As [`Self::basis`], for answers about the catalog alone.
    pub fn catalog_basis(&self) -> ConsistencyToken {
        self.token(self.node.catalog_basis())
    }

    /// The rights of a user whom the node knows, and the catalog that they belong to; it knows everybody. Nothing is
    /// said of one whose ledger lags behind the catalog: the two together were never true.
    pub fn require_known(&self, user: UserId) -> Result<(UserAccess, Arc<CompiledCatalog>), Problem> {
        let (found, catalog) = self.node.rights(user).ok_or_else(not_yet)?;
        let registered = found.filter(|access| access.standing() != Standing::Unregistered);
        let access = registered.ok_or(ProblemType::NoSuchUser)?;
        Ok((access, catalog))
    }
}

const fn state_of(standing: SessionStanding) -> SessionState {
    match standing {
        SessionStanding::Live => SessionState::Live,
        SessionStanding::Ended => SessionState::Ended,
        SessionStanding::Unknown => SessionState::Unknown,
    }
}

impl Authenticate for App {
    fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A node that still reads the log, or cannot read on, knows nothing for sure: every caller is
    /// told to come back.
    fn session_state(&self, user: UserId, session: SessionId) -> SessionState {
        if self.node.trouble().is_some() {
            return SessionState::Unknown;
        }
        state_of(self.node.session_standing(user, session, self.now()))
    }

    async fn settle_session(&self, user: UserId, session: SessionId) -> SessionState {
        if self.node.trouble().is_some() {
            return SessionState::Unknown;
        }
        let now = self.now();
        let settled = self.node.settled_session_standing(user, session, now, WAIT);
        state_of(settled.await)
    }

    fn key_state(&self, key: &ServiceKey) -> KeyState {
        if self.node.trouble().is_some() {
            return KeyState::Unknown;
        }
        let now = self.now();
        key_state(self.node.key_standing(key.user_id, key.key_id, key.hash(), now))
    }

    async fn settle_key(&self, key: &ServiceKey) -> KeyState {
        if self.node.trouble().is_some() {
            return KeyState::Unknown;
        }
        let (user, id, hash) = (key.user_id, key.key_id, key.hash());
        let settled = self.node.settled_key_standing(user, id, hash, self.now(), WAIT);
        key_state(settled.await)
    }

    fn has_key(&self, user: UserId, key: KeyId) -> Option<bool> {
        if self.node.trouble().is_some() {
            return None;
        }
        self.node.has_key(user, key, self.now())
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

impl LogIdentity for App {
    fn log_id(&self) -> LogId {
        self.node.log_id()
    }
}
