//! Notices a partition that is not read on although it has more.
//!
//! librdkafka may lose a partition for good where leaders change quickly: it goes on asking a broker that
//! does not lead it any more (its issue 5593), or, where leader hints are acted on, none at all (5430, see
//! crate `leader-hints`). Only a new client helps, so a reader is told to open anew.

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
        self.judge(&places, &ends)
    }

    /// Compares with the last look, and remembers this one.
    fn judge(&mut self, places: &[Place], ends: &[i64]) -> Option<Place> {
        let stuck = places.iter().copied().find(|place| {
            let then = self.then.get(place);
            then.is_some_and(|&(position, end)| self.positions[place] == position && position < end)
        });
        let now = places
            .iter()
            .zip(ends)
            .map(|(place, &end)| (*place, (self.positions[place], end)));
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = (Stream::Users, 3);

    fn watch() -> StuckWatch {
        StuckWatch::new(
            &KafkaConfig::plain("127.0.0.1:1", "test"),
            &[(PLACE.0, PLACE.1, 7)],
        )
    }

    #[test]
    fn a_partition_with_more_that_does_not_move_is_stuck() {
        let mut watch = watch();
        assert_eq!(watch.judge(&[PLACE], &[9]), None, "the first look only remembers");
        assert_eq!(watch.judge(&[PLACE], &[9]), Some(PLACE));
    }

    #[test]
    fn a_partition_that_moves_or_has_no_more_is_not_stuck() {
        let mut watch = watch();
        for next in 8..12 {
            assert_eq!(watch.judge(&[PLACE], &[20]), None);
            watch.read(PLACE, next);
        }
        watch.read(PLACE, 20);
        assert_eq!(watch.judge(&[PLACE], &[20]), None);
        // What came since the last look may simply not be here yet.
        assert_eq!(watch.judge(&[PLACE], &[25]), None);
    }

    #[test]
    fn what_was_seen_before_a_pause_proves_nothing() {
        let mut watch = watch();
        assert_eq!(watch.judge(&[PLACE], &[9]), None);
        watch.forget_one(PLACE);
        assert_eq!(watch.judge(&[PLACE], &[9]), None);
        watch.forget();
        assert_eq!(watch.judge(&[PLACE], &[9]), None);
    }
}
