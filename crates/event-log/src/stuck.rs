//! Notices a partition that is not read on although it has more.
//!
//! librdkafka (2.12.1 and later) may lose a partition for good: when an update says that it has no
//! leader for a moment, as after a broker was killed, the partition stays "without information" and is
//! never fetched again (its issue 5430). Only a new client helps, so a reader is told to open anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use schemas::Stream;

use crate::config::KafkaConfig;
use crate::watermarks;

/// Longer than an open transaction holds readers up: its time-out and the broker's sweep.
const LOOK_EVERY: Duration = Duration::from_secs(12);

type Place = (Stream, i32);

pub(crate) struct StuckWatch {
    config: KafkaConfig,
    client: Option<BaseConsumer>,
    /// Offset of the next item of each partition that is being read.
    positions: HashMap<Place, i64>,
    /// Position and end of each partition at the last look.
    then: HashMap<Place, (i64, i64)>,
    looked: Instant,
}

impl StuckWatch {
    pub(crate) fn new(config: &KafkaConfig, start: &[(Stream, i32, i64)]) -> Self {
        Self {
            config: config.clone(),
            client: None,
            positions: start.iter().map(|&(s, p, next)| ((s, p), next)).collect(),
            then: HashMap::new(),
            looked: Instant::now(),
        }
    }

    pub(crate) fn read(&mut self, place: Place, next: i64) {
        self.positions.insert(place, next);
    }

    /// What was seen of a partition proves nothing any more: it was paused meanwhile.
    pub(crate) fn forget_one(&mut self, place: Place) {
        self.then.remove(&place);
    }

    /// The same of all: nobody took items.
    pub(crate) fn forget(&mut self) {
        self.then.clear();
        self.looked = Instant::now();
    }

    /// Looks every so often: gives a partition that has not moved since the last look, though it had more
    /// by then. `paused` ones are not expected to move.
    pub(crate) fn look(&mut self, paused: impl Fn(Place) -> bool) -> Option<Place> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let places: Vec<Place> = self
            .positions
            .keys()
            .copied()
            .filter(|place| !paused(*place))
            .collect();
        let Some(ends) = self.ends(&places) else {
            // A broker that does not answer is no sign of a lost partition.
            self.then.clear();
            return None;
        };
        let stuck = places.iter().copied().find(|place| {
            let then = self.then.get(place);
            then.is_some_and(|&(position, end)| self.positions[place] == position && position < end)
        });
        let now = places
            .iter()
            .zip(ends)
            .map(|(place, end)| (*place, (self.positions[place], end)));
        self.then = now.collect();
        stuck
    }

    fn ends(&mut self, places: &[Place]) -> Option<Vec<i64>> {
        if self.client.is_none() {
            self.client = watermarks::client(&self.config).ok();
        }
        watermarks::query(self.client.as_ref()?, &self.config, places).ok()
    }
}
