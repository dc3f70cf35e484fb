//! The verifier itself: fed with records, it asks nothing of Kafka.

use std::collections::BTreeMap;

use event_log::identity::LogIdentity;
use event_log::{Record, Topics};
use schemas::{ChainHead, Meta};

use super::expect::ExpectedHead;
use super::finding::{Finding, Kind};
use super::partition::Partition;
use super::trial::CATALOG;
use crate::error::Error;
use crate::reading::{Item, Place, Stop};

/// What is known of the log before its records are looked at.
pub struct Facts {
    pub(super) topics: Topics,
    /// None: the catalog does not hold, so ids, ledgers and headers cannot be checked.
    pub(super) log: Option<LogIdentity>,
}

impl Facts {
    pub fn of(topics: Topics, log: LogIdentity) -> Self {
        Self {
            topics,
            log: Some(log),
        }
    }

    pub fn unknown(topics: Topics) -> Self {
        Self { topics, log: None }
    }

    pub(super) fn ledgers(&self) -> Option<i32> {
        self.log.as_ref().map(|log| log.created.ledgers)
    }
}

/// Checks partitions record by record. Memory: one number an aggregate.
pub struct Verifier {
    facts: Facts,
    partitions: BTreeMap<Place, Partition>,
    /// The farthest offset of each partition that an event relied on, and that event.
    relied_on: BTreeMap<Place, (i64, String)>,
}

impl Verifier {
    pub fn new(facts: Facts, places: &[Place]) -> Self {
        let partitions = places
            .iter()
            .map(|&place| (place, Partition::new(place, facts.topics.of(place.0))))
            .collect();
        Self {
            facts,
            partitions,
            relied_on: BTreeMap::new(),
        }
    }

    /// This head must turn out to stand in its partition's chain.
    pub fn expect(&mut self, head: ExpectedHead) -> Result<(), Error> {
        let place = (head.stream, head.partition);
        match self.partitions.get_mut(&place) {
            Some(partition) => {
                partition.expect(head);
                Ok(())
            }
            None => Err(Error::NoPartition(format!("{}-{}", place.0.name(), place.1))),
        }
    }

    /// Takes what reading yields.
    pub fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Record(record) => self.feed(record),
            Item::Unreadable {
                place,
                offset,
                reason,
            } => self.unreadable(place, offset, reason),
            Item::Stopped { place, offset, stop } => self.stopped(place, offset, &stop),
        }
    }

    /// Takes the next record of its partition, with all its headers.
    pub fn feed(&mut self, record: &Record) {
        let Some(partition) = self.partitions.get_mut(&(record.stream, record.partition)) else {
            return;
        };
        if let Some(meta) = partition.feed(record, &self.facts) {
            note_basis(&mut self.relied_on, record, &meta);
        }
    }

    /// A record of which only this is known: no header names its type.
    pub fn unreadable(&mut self, place: Place, offset: i64, reason: String) {
        if let Some(partition) = self.partitions.get_mut(&place) {
            partition.unreadable(offset, reason);
        }
    }

    /// The partition cannot be read from `offset` on.
    pub fn stopped(&mut self, place: Place, offset: i64, stop: &Stop) {
        if let Some(partition) = self.partitions.get_mut(&place) {
            partition.stopped(offset, stop);
        }
    }

    /// The log has this partition, and Kafka has not.
    pub fn absent(&mut self, place: Place) {
        if let Some(partition) = self.partitions.get_mut(&place) {
            let words = "Kafka has no such partition any more".to_owned();
            partition.fail(Kind::Missing, 0, words);
        }
    }

    /// `ends`: the high watermarks, asked for after the last record was read.
    pub fn finish(mut self, ends: &BTreeMap<Place, i64>) -> Verdict {
        for partition in self.partitions.values_mut() {
            partition.finish();
        }
        self.miss_the_beginning();
        for (place, (offset, by)) in self.relied_on {
            let (Some(end), Some(partition)) = (ends.get(&place), self.partitions.get_mut(&place)) else {
                continue;
            };
            if offset >= *end {
                let words = format!("the partition ends at offset {end}, but {by} relied on offset {offset}");
                partition.fail(Kind::Missing, *end, words);
            }
        }
        Verdict {
            is_full: self.facts.log.is_some(),
            partitions: self.partitions.into_values().map(Partition::verdict).collect(),
        }
    }

    /// No writer appends anything before the catalog has its first event.
    fn miss_the_beginning(&mut self) {
        let others = |(place, it): (&Place, &Partition)| *place != CATALOG && it.was_met();
        // With its facts known, it was there.
        if self.facts.log.is_some() || !self.partitions.iter().any(others) {
            return;
        }
        if let Some(catalog) = self.partitions.get_mut(&CATALOG)
            && !catalog.was_met()
        {
            let words = "the catalog is gone or empty: log.created came before every other event";
            catalog.fail(Kind::Missing, 0, words.to_owned());
        }
    }
}

fn note_basis(relied_on: &mut BTreeMap<Place, (i64, String)>, record: &Record, meta: &Meta) {
    for basis in &meta.basis {
        let place = (basis.stream, basis.partition);
        if relied_on
            .get(&place)
            .is_none_or(|(offset, _)| *offset < basis.offset)
        {
            let by = format!(
                "{}-{} offset {}",
                record.stream.name(),
                record.partition,
                record.offset
            );
            relied_on.insert(place, (basis.offset, by));
        }
    }
}

/// How all partitions stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether ids, ledgers and headers were checked too: what they must be, a sound catalog says.
    pub is_full: bool,
    pub partitions: Vec<PartitionVerdict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionVerdict {
    pub place: Place,
    /// Events that were found in order.
    pub events: u64,
    /// The chain behind the last of them.
    pub head: ChainHead,
    pub finding: Option<Finding>,
}

impl Verdict {
    pub fn is_sound(&self) -> bool {
        self.findings().next().is_none()
    }

    pub fn holds_nothing(&self) -> bool {
        self.events() == 0 && self.is_sound()
    }

    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.partitions
            .iter()
            .filter_map(|partition| partition.finding.as_ref())
    }

    pub fn events(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.events).sum()
    }
}
