//! Snapshots in memory: what PostgreSQL promises to keepers, for tests and in-process use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    IndexRow, Indexed, Place, Save, SaveOutcome, SnapshotPosition, SnapshotStore, StateRow, StoreError,
};

/// Clones are the same store.
#[derive(Clone, Default)]
pub struct MemorySnapshots(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct Partition {
    position: Option<SnapshotPosition>,
    rows: BTreeMap<String, StateRow>,
}

#[derive(Default)]
struct State {
    partitions: HashMap<Place, Partition>,
    down: bool,
    lose_answers: usize,
    fetched: usize,
}

/// A store's content at some moment.
pub struct MemoryCopy(HashMap<Place, Partition>);

impl MemorySnapshots {
    /// From now on every call fails, or works again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }

    /// So many saves are done, and yet end in an error.
    pub fn lose_answers(&self, saves: usize) {
        self.0.lock().lose_answers = saves;
    }

    /// A backup.
    pub fn copy(&self) -> MemoryCopy {
        MemoryCopy(self.0.lock().partitions.clone())
    }

    /// Whatever was saved since the copy is lost.
    pub fn restore(&self, copy: &MemoryCopy) {
        self.0.lock().partitions = copy.0.clone();
    }

    /// Changes a partition's rows behind the owner's back.
    pub fn edit(&self, place: Place, edit: impl FnOnce(&mut BTreeMap<String, StateRow>)) {
        edit(&mut self.0.lock().partitions.entry(place).or_default().rows);
    }

    pub fn position(&self, place: Place) -> Option<SnapshotPosition> {
        self.0.lock().partitions.get(&place)?.position.clone()
    }

    pub fn row(&self, place: Place, id: &str) -> Option<StateRow> {
        self.0.lock().partitions.get(&place)?.rows.get(id).cloned()
    }

    /// Rows given out so far.
    pub fn fetched(&self) -> usize {
        self.0.lock().fetched
    }

    fn with<T>(&self, call: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let mut state = self.0.lock();
        if state.down {
            return Err(StoreError("made to be down".to_owned()));
        }
        Ok(call(&mut state))
    }
}

impl State {
    fn save(&mut self, place: Place, save: Save) -> SaveOutcome {
        let partition = self.partitions.entry(place).or_default();
        let stored = partition.position.as_ref();
        if stored.is_some_and(|stored| stored.claim_offset > save.position.claim_offset) {
            return SaveOutcome::Fenced;
        }
        if stored.map(|stored| stored.seal) != save.expected {
            return SaveOutcome::Moved;
        }
        if save.replace {
            partition.rows.clear();
        }
        partition
            .rows
            .extend(save.rows.into_iter().map(|row| (row.id.clone(), row)));
        partition.position = Some(save.position);
        SaveOutcome::Saved
    }
}

impl SnapshotStore for MemorySnapshots {
    fn load(&self, place: Place) -> BoxFuture<'_, Result<Option<Indexed>, StoreError>> {
        let loaded = self.with(|state| {
            let partition = state.partitions.get(&place)?;
            let index = |row: &StateRow| IndexRow {
                id: row.id.clone(),
                sequence: row.sequence,
                pinned: row.pinned,
            };
            Some((
                partition.position.clone()?,
                partition.rows.values().map(index).collect(),
            ))
        });
        async { loaded }.boxed()
    }

    fn fetch(&self, place: Place, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<StateRow>, StoreError>> {
        let fetched = self.with(|state| {
            let rows = state.partitions.get(&place).map(|partition| &partition.rows);
            let found: Vec<StateRow> = ids.iter().filter_map(|id| rows?.get(id).cloned()).collect();
            state.fetched += found.len();
            found
        });
        async { fetched }.boxed()
    }

    fn save(&self, place: Place, save: Save) -> BoxFuture<'_, Result<SaveOutcome, StoreError>> {
        let saved = self.with(|state| {
            let outcome = state.save(place, save);
            if state.lose_answers > 0 {
                state.lose_answers -= 1;
                return Err(StoreError("the answer was made to be lost".to_owned()));
            }
            Ok(outcome)
        });
        async { saved? }.boxed()
    }
}
