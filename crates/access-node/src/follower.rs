//! Reading the log on and on: opened again where that may help, and paused where too much waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::{KafkaConfig, Tail, TailError, TailItem};
use schemas::{SchemaIds, Stream};

use crate::applying::{Applier, Place};
use crate::model::{Model, Reach};

/// A partition that waits for another stops being fetched at this many records in memory.
const PAUSE_AT: usize = 10_000;
const BATCH: usize = 4_000;
/// Time alone may let something go on.
const TICK: Duration = Duration::from_millis(500);
/// A broker that starts may not know its partitions yet; one that is asked this often does.
const STRIKES: u32 = 10;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

pub(crate) struct Follower {
    config: KafkaConfig,
    tail: Tail,
    applier: Applier,
    /// Offset of the next record to read of each partition.
    next: BTreeMap<Place, i64>,
    paused: BTreeSet<Place>,
    /// How often in a row reading failed.
    strikes: u32,
}

impl Follower {
    /// Follows the partitions from their first records on, or from where they were loaded to.
    pub(crate) fn open(
        config: &KafkaConfig,
        places: impl Iterator<Item = Place>,
        model: Arc<Model>,
        ids: SchemaIds,
        loaded: &[(i32, Reach)],
    ) -> Result<Self, TailError> {
        let mut next: BTreeMap<Place, i64> = places.map(|place| (place, 0)).collect();
        let mut applier = Applier::new(model, ids);
        for &(ledger, reach) in loaded {
            next.insert((Stream::Users, ledger), reach.last_offset + 1);
            applier.resume(ledger, reach);
        }
        Ok(Self {
            config: config.clone(),
            tail: open(config, &next)?,
            applier,
            next,
            paused: BTreeSet::new(),
            strikes: 0,
        })
    }

    /// Follows for ever; the error says why it cannot go on.
    pub(crate) async fn run(mut self) -> Result<(), TailError> {
        loop {
            match tokio::time::timeout(TICK, self.tail.next(BATCH)).await {
                Err(_) => {}
                Ok(Ok(items)) => {
                    self.strikes = 0;
                    items.into_iter().for_each(|item| self.take(item));
                }
                Ok(Err(error)) => self.reopen(error).await?,
            }
            self.applier.apply(Instant::now())?;
            self.hold_back()?;
        }
    }

    fn take(&mut self, item: TailItem) {
        let (place, next) = item.place_and_next();
        self.next.insert(place, next);
        self.applier.take(item);
    }

    async fn reopen(&mut self, error: TailError) -> Result<(), TailError> {
        self.strikes += 1;
        if is_final(&error) || self.strikes > STRIKES {
            return Err(error);
        }
        tracing::warn!("Opening the log again: {error}");
        let longest = BACKOFF.saturating_mul(1 << self.strikes.min(8)).min(BACKOFF_MAX);
        tokio::time::sleep(longest).await;
        self.tail = open(&self.config, &self.next)?;
        self.paused.clear();
        Ok(())
    }

    fn hold_back(&mut self) -> Result<(), TailError> {
        for (place, waiting) in self.applier.waiting() {
            let told = if waiting >= PAUSE_AT && self.paused.insert(place) {
                self.tail.pause(place.0, place.1)
            } else if waiting == 0 && self.paused.remove(&place) {
                self.tail.resume(place.0, place.1)
            } else {
                Ok(())
            };
            match told {
                // It is over, and what it gives next says why: then it is opened again, or never.
                Ok(()) | Err(TailError::Ended) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(config: &KafkaConfig, next: &BTreeMap<Place, i64>) -> Result<Tail, TailError> {
    let start: Vec<_> = next
        .iter()
        .map(|(&(stream, partition), &offset)| (stream, partition, offset))
        .collect();
    Tail::open(config, &start)
}

/// What another look at the log cannot mend: records that are gone, or cannot be read.
fn is_final(error: &TailError) -> bool {
    match error {
        TailError::Record(_) | TailError::Gap { .. } | TailError::Fork { .. } => true,
        TailError::Partition { .. } => error.lost_records(),
        TailError::Kafka(_) | TailError::Stuck { .. } | TailError::Ended => false,
    }
}
