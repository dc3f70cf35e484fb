//! What the node has in memory: written by the follower, read by checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::Engine;
use arc_swap::ArcSwap;
use domain::catalog::{Approval, Catalog};
use event_log::{Owners, Record};
use parking_lot::{Mutex, RwLock};
use schemas::catalog::ShardMapChanged;
use schemas::user::UserEvent;
use schemas::{ApprovalId, ChainHead, Meta, SessionId, UserId, link};

use crate::partition::{Rows, UsersPartition};
use crate::positions::Positions;

/// Sessions copied under one lock, so that events and checks wait little. Ids are copied at once: a million takes
/// milliseconds.
const SLICE: usize = 1_000;

pub(crate) struct Model {
    /// Rights of all users, and the catalog.
    pub(crate) engine: Engine,
    /// By ledger.
    pub(crate) users: Box<[RwLock<UsersPartition>]>,
    pub(crate) aside: ArcSwap<Aside>,
    pub(crate) positions: Positions,
    pub(crate) owners: Owners,
    ends: Box<[Mutex<End>]>,
}

/// What stands in the catalog and no check needs.
#[derive(Debug, Default)]
pub struct Aside {
    /// Changes that wait for a second person, and grants that may still have to be made.
    pub approvals: BTreeMap<ApprovalId, Approval>,
    /// The last one.
    pub shard_map: Option<ShardMapChanged>,
}

/// How far a ledger is applied: the last record, and the chain behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) last_offset: i64,
    pub(crate) chain: ChainHead,
}

/// What a ledger was applied up to.
#[derive(Default)]
struct End {
    /// `chain_seq` of the first event that was not in the snapshot it started from.
    loaded: Option<i64>,
    /// The last record read of the log, and its `chain_seq`.
    last: Option<(i64, Box<Record>)>,
}

impl Model {
    pub(crate) fn new(ledgers: i32) -> Self {
        Self {
            engine: Engine::default(),
            users: (0..ledgers).map(|_| RwLock::default()).collect(),
            aside: ArcSwap::default(),
            positions: Positions::new(ledgers),
            owners: Owners::default(),
            ends: (0..ledgers).map(|_| Mutex::default()).collect(),
        }
    }

    fn partition(&self, ledger: i32) -> Option<&RwLock<UsersPartition>> {
        self.users.get(usize::try_from(ledger).ok()?)
    }

    fn end(&self, ledger: i32) -> Option<&Mutex<End>> {
        self.ends.get(usize::try_from(ledger).ok()?)
    }

    pub(crate) fn ledgers(&self) -> i32 {
        i32::try_from(self.users.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn apply_user(&self, ledger: i32, meta: &Meta, event: &UserEvent) {
        let Some(users) = self.partition(ledger) else {
            return;
        };
        let at = meta.occurred_at;
        match meta.aggregate_id.parse() {
            Ok(user) => users.write().apply(&self.engine, ledger, user, event, at),
            Err(error) => tracing::error!(%error, "A user event names no user id"),
        }
    }

    pub(crate) fn set_catalog(&self, catalog: &Catalog) {
        self.engine.set_catalog(&catalog.view());
        self.aside.store(Arc::new(Aside {
            approvals: catalog.approvals.clone(),
            shard_map: catalog.shard_map.clone(),
        }));
    }

    /// Takes in what a snapshot holds; before anything of the ledger is applied.
    pub(crate) fn restore(&self, ledger: i32, reach: Reach, rows: Vec<Rows>) {
        let (Some(users), Some(end)) = (self.partition(ledger), self.end(ledger)) else {
            return;
        };
        users.write().restore(&self.engine, ledger, rows);
        end.lock().loaded = Some(reach.chain.next_seq);
    }

    /// Everything up to this record is applied.
    pub(crate) fn reached(&self, ledger: i32, chain_seq: i64, record: Box<Record>) {
        if let Some(end) = self.end(ledger) {
            end.lock().last = Some((chain_seq, record));
        }
    }

    /// Ledgers that were loaded, and how far.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (i32, i64)> {
        (0..self.ledgers()).filter_map(|ledger| Some((ledger, self.end(ledger)?.lock().loaded?)))
    }

    /// `chain_seq` of the next event of a ledger of which something was read.
    pub(crate) fn next_seq(&self, ledger: i32) -> Option<i64> {
        let end = self.end(ledger)?.lock();
        end.last.as_ref().map(|(seq, _)| seq + 1)
    }

    /// How far a ledger is applied, if anything of it was read.
    pub(crate) fn reach(&self, ledger: i32, topic: &str) -> Option<Reach> {
        let end = self.end(ledger)?.lock();
        let (seq, record) = end.last.as_ref()?;
        Some(Reach {
            last_offset: record.offset,
            chain: ChainHead {
                next_seq: seq + 1,
                hash: link(topic, ledger, &record.key, &record.value),
            },
        })
    }

    pub(crate) fn users_of(&self, ledger: i32) -> usize {
        self.partition(ledger).map_or(0, |users| users.read().len())
    }

    /// A ledger's rows, copied bit by bit: later ones may be from a later moment. Applying the events since the
    /// first moment again makes them all of one.
    pub(crate) fn rows(&self, ledger: i32) -> Rows {
        let mut rows = Rows::default();
        let Some(partition) = self.partition(ledger) else {
            return rows;
        };
        self.copy_users(&self.engine.users_of(ledger), &mut rows);
        let sessions = partition.read().session_ids();
        for sessions in sessions.chunks(SLICE) {
            self.copy_sessions(ledger, sessions, &mut rows);
        }
        partition.read().copy_keys(&mut rows);
        rows
    }

    fn copy_users(&self, ids: &[UserId], rows: &mut Rows) {
        let found = ids
            .iter()
            .filter_map(|id| Some((*id, self.engine.ask(*id).access()?)));
        rows.users.extend(found);
    }

    fn copy_sessions(&self, ledger: i32, ids: &[SessionId], rows: &mut Rows) {
        if let Some(partition) = self.partition(ledger) {
            partition.read().copy_sessions(ids, rows);
        }
    }
}

#[cfg(test)]
mod tests;
