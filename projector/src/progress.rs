//! How far the partitions of one shard are applied: what an event's basis is measured against.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use schemas::{Position, Stream};
use tokio::sync::watch;

/// A partition of the log, by stream and number.
pub type Lane = (Stream, i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything before this offset is applied.
    Applied(i64),
    /// Stopped for good: halted, or where it was told to stop.
    Halted,
    Finished,
}

/// Shared by the workers of one shard. A basis on another shard's partitions is not waited for:
/// the rows of this shard do not refer to rows of another.
#[derive(Debug)]
pub struct Progress {
    lanes: watch::Sender<HashMap<Lane, State>>,
    /// The checkpoints in the database, as the workers left them.
    checkpoints: Mutex<HashMap<Lane, i64>>,
    /// Copies that nobody reads yet. They may have the whole log before them, and nobody waits for that.
    filling: HashSet<Lane>,
}

impl Progress {
    pub fn new(filling: impl IntoIterator<Item = Lane>) -> Self {
        Self {
            lanes: watch::Sender::new(HashMap::new()),
            checkpoints: Mutex::default(),
            filling: filling.into_iter().collect(),
        }
    }

    /// The checkpoint of a partition stands at `next_offset`.
    pub fn applied(&self, lane: Lane, next_offset: i64) {
        self.checkpoints.lock().insert(lane, next_offset);
        self.lanes.send_modify(|lanes| {
            lanes.insert(lane, State::Applied(next_offset));
        });
    }

    /// Where the workers left the checkpoints.
    pub fn checkpoints(&self) -> Vec<(Lane, i64)> {
        let checkpoints = self.checkpoints.lock();
        checkpoints.iter().map(|(lane, next)| (*lane, *next)).collect()
    }

    /// Nothing before `offset` is left to apply: the next record stands there, or the end. Markers
    /// count too, on which another lane may rest while this one waits in turn.
    pub fn reached(&self, lane: Lane, offset: i64) {
        self.lanes.send_if_modified(|lanes| match lanes.get_mut(&lane) {
            Some(State::Applied(next)) if *next < offset => {
                *next = offset;
                true
            }
            _ => false,
        });
    }

    pub fn halted(&self, lane: Lane) {
        self.lanes.send_modify(|lanes| {
            lanes.insert(lane, State::Halted);
        });
    }

    pub fn finished(&self, lane: Lane) {
        self.lanes.send_modify(|lanes| {
            lanes.insert(lane, State::Finished);
        });
    }

    /// How many of `events` may be applied now: those before the first whose basis is not. Within a
    /// partition the order itself is the proof, so positions of `own` count as applied.
    pub fn ready<'a>(&self, own: Lane, bases: impl Iterator<Item = &'a [Position]>) -> usize {
        let lanes = self.lanes.borrow();
        bases
            .take_while(|basis| basis.iter().all(|position| self.covers(&lanes, own, position)))
            .count()
    }

    fn covers(&self, lanes: &HashMap<Lane, State>, own: Lane, position: &Position) -> bool {
        let lane = (position.stream, position.partition);
        lane == own
            || self.filling.contains(&lane)
            || match lanes.get(&lane) {
                Some(State::Applied(next)) => *next > position.offset,
                Some(State::Finished) | None => true,
                // A halted ledger's rows are known to be old; the catalog goes on without it. Without
                // the catalog's rows others cannot even be written.
                Some(State::Halted) => lane.0 != Stream::Catalog,
            }
    }

    pub fn subscribe(&self) -> Changes {
        Changes(self.lanes.subscribe())
    }
}

/// Wakes when anything moved on the shard.
pub struct Changes(watch::Receiver<HashMap<Lane, State>>);

impl Changes {
    /// Forgets moves so far. Call before looking, so that none between is missed.
    pub fn mark_seen(&mut self) {
        self.0.mark_unchanged();
    }

    pub async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await; // the shard's workers are gone, and this one with them
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: Lane = (Stream::Users, 0);
    const CATALOG: Lane = (Stream::Catalog, 0);

    fn at((stream, partition): Lane, offset: i64) -> Vec<Position> {
        vec![Position {
            stream,
            partition,
            offset,
        }]
    }

    fn ready(progress: &Progress, bases: &[Vec<Position>]) -> usize {
        progress.ready(USERS, bases.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_batch_ends_before_the_first_event_that_waits() {
        let progress = Progress::new([]);
        progress.applied(CATALOG, 5);
        assert_eq!(
            ready(&progress, &[vec![], at(CATALOG, 4), at(CATALOG, 5), vec![]]),
            2
        );
        progress.applied(CATALOG, 6);
        assert_eq!(
            ready(&progress, &[vec![], at(CATALOG, 4), at(CATALOG, 5), vec![]]),
            4
        );
    }

    #[test]
    fn nobody_waits_for_itself_or_another_shard() {
        let progress = Progress::new([]);
        progress.applied(USERS, 0);
        assert_eq!(ready(&progress, &[at(USERS, 9), at((Stream::Users, 7), 9)]), 2);
    }

    #[test]
    fn nobody_waits_for_a_copy_that_is_filled_and_it_waits_for_the_others() {
        let filled = (Stream::Users, 5);
        let progress = Progress::new([filled]);
        for lane in [USERS, CATALOG, filled] {
            progress.applied(lane, 0);
        }
        assert_eq!(ready(&progress, &[at(filled, 9), at(CATALOG, 0)]), 1);
        let bases = [at(USERS, 0)];
        assert_eq!(progress.ready(filled, bases.iter().map(Vec::as_slice)), 0);
    }

    #[test]
    fn a_halted_catalog_holds_users_and_a_halted_ledger_holds_nobody() {
        let progress = Progress::new([]);
        progress.halted(CATALOG);
        progress.halted((Stream::Users, 3));
        assert_eq!(ready(&progress, &[at((Stream::Users, 3), 9), at(CATALOG, 0)]), 1);
    }
}
