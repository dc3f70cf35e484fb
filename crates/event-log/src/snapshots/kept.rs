//! What saving needs of aggregates, whatever their kind.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemas::Stream;

use super::shared::{GroupSnapshots, LogScan};
use super::{IndexRow, NotFetched, Place};
use crate::aggregate::LedgerAggregate;
use crate::aggregates::AggregateMap;
use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::writer_log::WriterLogError;

/// An aggregate whose command takes longer is saved the next time.
const TURN: Duration = Duration::from_secs(5);

/// An aggregate, looked at for saving.
pub(crate) enum Captured {
    /// There is no such aggregate, or none in memory: then it is saved as it is.
    Nothing,
    /// What was committed for it is not applied yet.
    Unsettled,
    State(IndexRow, Vec<u8>),
}

/// The aggregates of one partition.
pub(crate) trait Kept: Send + Sync {
    fn state_version(&self) -> i32;
    /// Waits for the aggregate's turn.
    fn capture<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Captured>;
    /// For a new owner, while the former may still serve.
    fn fill<'a>(
        &'a self,
        snapshots: &'a GroupSnapshots,
        place: Place,
        id: &'a str,
    ) -> BoxFuture<'a, Result<(), NotFetched>>;
    /// Reads all that are not in memory from the log, and gives the ids of all.
    fn rebuild(&self, scan: &dyn LogScan, place: Place) -> Result<Vec<String>, WriterLogError>;
    fn index(&self, rows: &[IndexRow]);
    fn compare(&self, rows: &[IndexRow]) -> Option<Vec<String>>;
    fn saved(&self, id: &str) -> Option<(i64, bool)>;
    fn was_saved(&self, row: &IndexRow);
    fn counts(&self) -> (usize, usize);
    fn absent(&self) -> Vec<String>;
    /// Makes place for one whose state is to be fetched.
    fn expect(&self, id: &str);
    fn evict(&self, count: usize) -> usize;
}

impl Ledger {
    pub(crate) fn kept(&self, stream: Stream) -> &dyn Kept {
        match stream {
            Stream::Users => &self.users,
            Stream::Identifiers => &self.identifiers,
            Stream::Catalog => &self.catalogs,
        }
    }
}

impl<A: LedgerAggregate> Kept for AggregateMap<A> {
    fn state_version(&self) -> i32 {
        A::STATE_VERSION
    }

    fn capture<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Captured> {
        async move {
            let Some(entry) = self.present(id) else {
                return Captured::Nothing;
            };
            let Ok(entry) = tokio::time::timeout(TURN, entry.lock()).await else {
                return Captured::Unsettled;
            };
            if entry.is_unborn() {
                return Captured::Nothing;
            }
            if entry.is_saved_absent() {
                // Not in memory, and stored only if the index has it: after a rebuild it may be in neither.
                return match Self::saved(self, id) {
                    Some(_) => Captured::Nothing,
                    None => Captured::Unsettled,
                };
            }
            if !entry.is_settled() {
                return Captured::Unsettled;
            }
            match entry.to_state() {
                Ok(state) => Captured::State(
                    IndexRow {
                        id: id.to_owned(),
                        sequence: entry.sequence,
                        pinned: entry.aggregate.is_pinned(),
                    },
                    state,
                ),
                Err(error) => {
                    tracing::error!(%error, "The state of an aggregate cannot be written");
                    Captured::Unsettled
                }
            }
        }
        .boxed()
    }

    fn fill<'a>(
        &'a self,
        snapshots: &'a GroupSnapshots,
        place: Place,
        id: &'a str,
    ) -> BoxFuture<'a, Result<(), NotFetched>> {
        async move {
            let entry = self.entry(id);
            let mut entry = entry.lock().await;
            match entry.absence_from() {
                Some(sequences) => snapshots.fill(place, id, &mut entry, sequences).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn rebuild(&self, scan: &dyn LogScan, place: Place) -> Result<Vec<String>, WriterLogError> {
        let mut entries: HashMap<String, Entry<A>> = HashMap::new();
        // Once for each: a state made of a part of its events would be another one's.
        let wanted: RefCell<HashMap<String, bool>> = RefCell::default();
        let is_wanted = |id: &str| {
            let mut wanted = wanted.borrow_mut();
            *wanted.entry(id.to_owned()).or_insert_with(|| !self.is_warm(id))
        };
        scan.scan(place, &is_wanted, &mut |stored, position| {
            let (id, meta) = (stored.meta.aggregate_id.clone(), stored.meta);
            if let Some(data) = A::unwrap(stored.data) {
                let entry = entries.entry(id).or_default();
                entry.replay(schemas::Stored { meta, data }, position);
            }
        })?;
        for (id, entry) in entries {
            self.restore(&id, entry);
        }
        Ok(self.ids())
    }

    fn index(&self, rows: &[IndexRow]) {
        Self::index(self, rows);
    }

    fn compare(&self, rows: &[IndexRow]) -> Option<Vec<String>> {
        Self::compare(self, rows)
    }

    fn saved(&self, id: &str) -> Option<(i64, bool)> {
        Self::saved(self, id)
    }

    fn was_saved(&self, row: &IndexRow) {
        Self::was_saved(self, row);
    }

    fn counts(&self) -> (usize, usize) {
        Self::counts(self)
    }

    fn absent(&self) -> Vec<String> {
        Self::absent(self)
    }

    fn expect(&self, id: &str) {
        drop(self.entry(id));
    }

    fn evict(&self, count: usize) -> usize {
        Self::evict(self, count)
    }
}

#[cfg(test)]
mod tests {
    use domain::identifier::Identifier;
    use schemas::{Event, Position, Stored, Stream};

    use super::*;
    use crate::aggregate::saved_form::identifier_events;

    const ID: &str = "name";

    /// Its aggregate leaves memory after the first event was passed over.
    struct Leaving<'a> {
        map: &'a AggregateMap<Identifier>,
        events: Vec<(Stored<Event>, Position)>,
    }

    impl LogScan for Leaving<'_> {
        fn scan(
            &self,
            _: Place,
            wanted: &dyn Fn(&str) -> bool,
            each: &mut dyn FnMut(Stored<Event>, Position),
        ) -> Result<(), WriterLogError> {
            for (stored, position) in self.events.clone() {
                if wanted(ID) {
                    each(stored, position);
                }
                // The first time it counts as used.
                for _ in 0..2 {
                    self.map.evict(1);
                }
            }
            Ok(())
        }
    }

    #[test]
    fn what_leaves_memory_meanwhile_is_not_made_of_its_last_events_alone() {
        let map = AggregateMap::<Identifier>::default();
        let events = identifier_events(ID);
        let mut whole = Entry::default();
        for (stored, position) in events.clone() {
            let Stored { meta, data } = stored;
            let data = Identifier::unwrap(data).unwrap();
            whole.replay(Stored { meta, data }, position);
        }
        let row = IndexRow {
            id: ID.to_owned(),
            sequence: whole.sequence,
            pinned: false,
        };
        map.restore(ID, whole);
        map.was_saved(&row);
        let scan = Leaving { map: &map, events };
        map.rebuild(&scan, (Stream::Identifiers, 0)).unwrap();
        assert!(map.present(ID).is_none());
    }
}
