//! Snapshots of aggregates, written behind: where they are kept, and what a keeper must do.
//!
//! A partition's snapshot is one row for each aggregate and a position: every event before the position is
//! in the rows. Rows may be ahead of the position, never behind it. See ADR 12.

mod cold;
mod flusher;
mod kept;
mod known;
mod marks;
mod memory;
mod repair;
mod residents;
mod resume;
mod seal;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use schemas::{ChainHead, Stream, Timestamp};

pub(crate) use cold::NotFetched;
pub use memory::{MemoryCopy, MemorySnapshots};
use residents::Residents;
pub use seal::SnapshotKey;
pub(crate) use shared::{GroupSnapshots, ScanOf};

/// How often what changed is saved.
const EVERY: Duration = Duration::from_secs(2);

/// Reading the whole log takes long; a store that may be about to come up is waited for so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// An index of a million aggregates takes seconds; a store that is silent for so long is as good as down.
const SILENCE: Duration = Duration::from_secs(30);

/// A partition, whose aggregates are saved together.
pub type Place = (Stream, i32);

/// How far a partition's rows reach, at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// Of the states' form, see `LedgerAggregate::STATE_VERSION`.
    pub state_version: i32,
    pub next_offset: i64,
    pub chain: ChainHead,
    /// Time of the last event before it.
    pub last_at: Timestamp,
    /// Offset of the saving owner's claim: an owner with a lower one is replaced and saves nothing.
    pub claim_offset: i64,
    /// How many aggregates have a row.
    pub rows: i64,
    /// Over all of it and over which aggregates are saved at which sequence.
    pub seal: [u8; 32],
}

/// That an aggregate is saved, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    pub id: String,
    pub sequence: i64,
    /// It stays in memory: somebody looks for all such.
    pub pinned: bool,
}

/// A partition's position, and which aggregates have rows.
pub type Indexed = (SnapshotPosition, Vec<IndexRow>);

/// A saved aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    pub id: String,
    pub sequence: i64,
    pub pinned: bool,
    pub state: Vec<u8>,
    pub seal: [u8; 32],
}

/// What is saved in one transaction.
#[derive(Clone, Debug)]
pub struct Save {
    /// Seal of the position that the saver believes to be stored: the rows are changed from there.
    pub expected: Option<[u8; 32]>,
    /// Whatever rows the partition has are removed first.
    pub replace: bool,
    pub rows: Vec<StateRow>,
    pub position: SnapshotPosition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    Saved,
    /// Something else is stored than was expected: nothing was changed.
    Moved,
    /// A later owner has saved: nothing was changed.
    Fenced,
}

/// The store does not answer, or answers nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Keeps the snapshots of one log. What it gives back is believed only as far as its seals prove it.
pub trait SnapshotStore: Send + Sync + 'static {
    /// The position, and which aggregates have rows: both as of one moment.
    fn load(&self, place: Place) -> BoxFuture<'_, Result<Option<Indexed>, StoreError>>;

    /// The rows of these aggregates, as far as there are any.
    fn fetch(&self, place: Place, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<StateRow>, StoreError>>;

    /// All of it, or nothing.
    fn save(&self, place: Place, save: Save) -> BoxFuture<'_, Result<SaveOutcome, StoreError>>;
}

/// Where snapshots go, under which key, and how many aggregates may stay in memory. Clones share it.
#[derive(Clone)]
pub struct Snapshots {
    pub(crate) store: Arc<dyn SnapshotStore>,
    pub(crate) key: SnapshotKey,
    pub(crate) residents: Arc<Residents>,
    pub(crate) every: Duration,
    pub(crate) patience: Duration,
    pub(crate) silence: Duration,
}

impl Snapshots {
    /// `residents`: aggregates that stay in memory, of all groups together.
    pub fn new(store: Arc<dyn SnapshotStore>, key: SnapshotKey, residents: usize) -> Self {
        Self {
            store,
            key,
            residents: Arc::new(Residents::new(residents)),
            every: EVERY,
            patience: PATIENCE,
            silence: SILENCE,
        }
    }

    /// Saves more often, or less.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How long a new owner waits for a store that is down before it reads the whole log.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a store may take to say what it has.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}
