//! One partition under verification.

use std::collections::HashMap;

use event_log::Record;
use schemas::log::LogEvent;
use schemas::{ChainHead, Event, GENESIS, Meta, Sha256Digest, Stored, Stream, Timestamp, link};

use super::expect::ExpectedHead;
use super::finding::{Finding, Kind};
use super::judge::{Before, Claim, Fault, Judgement, Next, Suspect, judge};
use super::rules::{check_content, check_headers, decode};
use super::verifier::{Facts, PartitionVerdict};
use crate::reading::{Place, Stop};

pub(super) struct Partition {
    place: Place,
    topic: String,
    before: Before,
    last_at: Timestamp,
    /// Last sequence of each aggregate.
    sequences: HashMap<String, i64>,
    events: u64,
    /// Heads noted earlier that have not been met yet.
    expected: Vec<ExpectedHead>,
    /// A record that does not fit. What is wrong with it, its successor shows.
    suspect: Option<Suspect>,
    finding: Option<Finding>,
}

impl Partition {
    pub(super) fn new(place: Place, topic: String) -> Self {
        Self {
            place,
            topic,
            before: Before::START,
            last_at: Timestamp::from_micros(i64::MIN),
            sequences: HashMap::new(),
            events: 0,
            expected: Vec::new(),
            suspect: None,
            finding: None,
        }
    }

    pub(super) fn expect(&mut self, head: ExpectedHead) {
        self.expected.push(head);
    }

    /// Gives the meta of a record found in order.
    pub(super) fn feed(&mut self, record: &Record, facts: &Facts) -> Option<Meta> {
        if self.finding.is_some() {
            return None;
        }
        let stored = decode(record);
        let claim = stored.as_ref().ok().map(|stored| Claim::of(&stored.meta));
        if let Some(suspect) = self.suspect.take() {
            let next = Next {
                offset: record.offset,
                claim,
            };
            self.conclude(judge(&self.before, &suspect, Some(&next)));
            return None;
        }
        let link = link(&self.topic, record.partition, &record.key, &record.value);
        match self.examine(record, stored, facts) {
            Ok(stored) => {
                self.accept(record.offset, link, &stored.meta);
                Some(stored.meta)
            }
            Err(fault) => {
                self.suspect = Some(Suspect {
                    offset: record.offset,
                    link,
                    claim,
                    fault,
                });
                None
            }
        }
    }

    fn examine(
        &self,
        record: &Record,
        stored: Result<Stored<Event>, String>,
        facts: &Facts,
    ) -> Result<Stored<Event>, Fault> {
        let stored = stored.map_err(Fault::Unreadable)?;
        if Claim::of(&stored.meta) != Claim::from(self.before.head) {
            return Err(Fault::Chain);
        }
        if let Some(log) = &facts.log {
            check_headers(record, &stored.data, &stored.meta, log.created.log_id).map_err(Fault::Header)?;
        }
        check_content(record, &stored, facts).map_err(Fault::Rule)?;
        self.check_order(&stored).map_err(Fault::Rule)?;
        Ok(stored)
    }

    fn check_order(&self, stored: &Stored<Event>) -> Result<(), String> {
        let Meta {
            aggregate_id,
            sequence,
            occurred_at,
            ..
        } = &stored.meta;
        if *occurred_at < self.last_at {
            return Err(format!(
                "it occurred at {occurred_at}, before its predecessor's {}",
                self.last_at
            ));
        }
        let first_of_log = matches!(stored.data, Event::Log(LogEvent::Created(_)));
        if self.place.0 == Stream::Catalog && first_of_log != (self.before.head.next_seq == 0) {
            return Err("log.created must be the catalog's first event and no other".to_owned());
        }
        let due = self.sequences.get(aggregate_id).map_or(1, |last| last + 1);
        let in_order = match &stored.data {
            // Each claim stands alone, and so may each later introduction of schemas.
            Event::Log(LogEvent::LedgerClaimed(_)) => *sequence == 1,
            Event::Log(_) => *sequence == due || *sequence == 1,
            Event::User(_) | Event::Identifier(_) | Event::Catalog(_) => *sequence == due,
        };
        if in_order {
            return Ok(());
        }
        Err(format!(
            "it has sequence {sequence} of {aggregate_id}, where {due} is due"
        ))
    }

    fn accept(&mut self, offset: i64, link: Sha256Digest, meta: &Meta) {
        self.before = self.before.then(offset, link);
        self.last_at = meta.occurred_at;
        self.events += 1;
        match self.sequences.get_mut(&meta.aggregate_id) {
            Some(sequence) => *sequence = meta.sequence,
            None => {
                self.sequences.insert(meta.aggregate_id.clone(), meta.sequence);
            }
        }
        let differs = |head: &ExpectedHead| head.chain_seq == Some(meta.chain_seq) && head.hash != link;
        if let Some(head) = self.expected.iter().find(|head| differs(head)) {
            let words = format!(
                "its hash is {link}, noted earlier was {head}: it or something before it was rewritten"
            );
            self.conclude(Judgement {
                kind: Kind::Altered,
                offset,
                chain_seq: meta.chain_seq,
                words,
            });
        }
        self.expected.retain(|head| head.hash != link);
    }

    pub(super) fn unreadable(&mut self, offset: i64, reason: String) {
        if self.finding.is_some() {
            return;
        }
        match self.suspect.take() {
            Some(suspect) => self.conclude(judge(&self.before, &suspect, None)),
            // Its bytes are unknown, so nobody can hold its hash.
            None => {
                self.suspect = Some(Suspect {
                    offset,
                    link: GENESIS,
                    claim: None,
                    fault: Fault::Header(reason),
                })
            }
        }
    }

    pub(super) fn stopped(&mut self, offset: i64, stop: &Stop) {
        if self.finding.is_some() {
            return;
        }
        if let Some(suspect) = self.suspect.take() {
            self.conclude(judge(&self.before, &suspect, None));
            return;
        }
        let kind = match stop {
            Stop::Truncated => Kind::Missing,
            Stop::Unreadable(_) | Stop::Checksum => Kind::Altered,
        };
        self.fail(kind, offset, stop.words());
    }

    pub(super) fn finish(&mut self) {
        if let Some(suspect) = self.suspect.take() {
            self.conclude(judge(&self.before, &suspect, None));
        }
        let Some(head) = self.expected.first().cloned() else {
            return;
        };
        let Some(last) = self.before.offset else {
            return self.fail(
                Kind::Missing,
                0,
                format!("the partition is empty, noted earlier was the head {head}"),
            );
        };
        if head.chain_seq.is_some_and(|seq| seq >= self.before.head.next_seq) {
            let words = format!("the chain ends with offset {last}, noted earlier was the head {head}");
            return self.fail(Kind::Missing, last + 1, words);
        }
        let words = format!(
            "the head noted earlier, {head}, stands nowhere in the chain: the last event was altered, or what stood \
             behind it was removed, or an earlier event and all behind it were rewritten"
        );
        let chain_seq = self.before.head.next_seq - 1;
        self.conclude(Judgement {
            kind: Kind::Altered,
            offset: last,
            chain_seq,
            words,
        });
    }

    /// Records a fault at the end of what was read in order.
    pub(super) fn fail(&mut self, kind: Kind, offset: i64, words: String) {
        self.conclude(Judgement {
            kind,
            offset,
            chain_seq: self.before.head.next_seq,
            words,
        });
    }

    /// Only the first fault counts: behind it nothing can be proven.
    fn conclude(&mut self, judgement: Judgement) {
        let Judgement {
            kind,
            offset,
            chain_seq,
            words,
        } = judgement;
        let (topic, partition) = (self.topic.clone(), self.place.1);
        self.finding.get_or_insert(Finding {
            kind,
            topic,
            partition,
            offset,
            chain_seq,
            words,
        });
    }

    /// Whether anything is, or provably was, in it.
    pub(super) fn was_met(&self) -> bool {
        self.events > 0 || self.finding.is_some()
    }

    pub(super) fn verdict(self) -> PartitionVerdict {
        let head: ChainHead = self.before.head;
        PartitionVerdict {
            place: self.place,
            events: self.events,
            head,
            finding: self.finding,
        }
    }
}
