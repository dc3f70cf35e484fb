//! What the node has in memory: written by the follower, read by checks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::access::CompiledCatalog;
use event_log::{Owners, Record};
use parking_lot::{Mutex, RwLock};
use schemas::user::UserEvent;
use schemas::{ChainHead, Meta, link};

use crate::partition::{Rows, UsersPartition};
use crate::positions::Positions;

/// Rows copied under one lock, so that events and checks wait little. Ids are copied at once: a million takes
/// milliseconds.
const SLICE: usize = 1_000;

pub(crate) struct Model {
    pub(crate) users: Box<[RwLock<UsersPartition>]>,
    pub(crate) catalog: ArcSwap<CompiledCatalog>,
    pub(crate) positions: Positions,
    pub(crate) owners: Owners,
    ends: Box<[Mutex<End>]>,
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
            users: (0..ledgers).map(|_| RwLock::default()).collect(),
            catalog: ArcSwap::default(),
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
        if let Err(error) = users.write().apply(meta, event) {
            tracing::error!(%error, "A user event names no user id");
        }
    }

    pub(crate) fn set_catalog(&self, catalog: CompiledCatalog) {
        self.catalog.store(Arc::new(catalog));
    }

    /// Takes in what a snapshot holds; before anything of the ledger is applied.
    pub(crate) fn restore(&self, ledger: i32, reach: Reach, rows: Vec<Rows>) {
        let (Some(users), Some(end)) = (self.partition(ledger), self.end(ledger)) else {
            return;
        };
        users.write().restore(rows);
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
        let (users, sessions) = partition.read().ids();
        for users in users.chunks(SLICE) {
            partition.read().copy_users(users, &mut rows);
        }
        for sessions in sessions.chunks(SLICE) {
            partition.read().copy_sessions(sessions, &mut rows);
        }
        partition.read().copy_keys(&mut rows);
        rows
    }
}

#[cfg(test)]
mod tests;
