//! What every endpoint works with.

use std::sync::Arc;

use access_node::AccessNode;
use domain::access::{CompiledCatalog, Decision, Query, Standing, UserAccess};
use metrics::{Counter, counter};
use schemas::{IndexKey, KeyId, LogId, Position, Timestamp, UserId};
use service_kit::at_least::LogIdentity;
use service_kit::auth::Authenticate;
use service_kit::consistency::ConsistencyToken;
use service_kit::jwt::{TokenConfig, Verifier};
use service_kit::problem::{Problem, ProblemType};
use service_kit::service_key::KeyGuesses;

use crate::freshness::not_yet;
use crate::personal_data::DataKeys;
use crate::reads::ShardReads;

/// Shared by all requests.
pub struct App {
    pub node: Arc<AccessNode>,
    pub verifier: Verifier,
    pub tokens: TokenConfig,
    pub data_keys: DataKeys,
    /// To find people by their names with; not every service has it.
    pub index_key: Option<IndexKey>,
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
    pub fn check(&self, user: UserId, key: Option<KeyId>, query: Query<'_>, now: Timestamp) -> Decision {
        match key {
            None => self.node.check(user, query, now),
            Some(key) => self.node.check_with_key(user, key, query, now),
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
