//! Applying records in an order that was true at some moment: an event waits for its basis.
//!
//! Events that only take rights away do not wait. An event of the catalog that has waited for
//! [`PATIENCE`] is applied without its basis, and the users of the ledgers that lag are refused until
//! these have caught up; so are the users of a ledger that itself waits as long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::catalog::Catalog;
use event_log::{DecodeError, Record, TailError, TailItem, decode};
use schemas::log::LogEvent;
use schemas::{ChainHead, Event, Position, SchemaIdError, SchemaIds, Sha256Digest, Stored, Stream};

use crate::model::{Model, Reach};
use crate::waits::waits_for_basis;

/// How long the whole node stands still for one ledger that does.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Place = (Stream, i32);

pub(crate) struct Applier {
    model: Arc<Model>,
    ids: SchemaIds,
    catalog: Catalog,
    queues: BTreeMap<Place, Queue>,
}

/// What was read of a partition and is not applied.
#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// `chain_seq` of the next event: a lost event would be a wrong answer.
    expected: i64,
    /// `prev_hash` of the next event, if that is the first behind a snapshot.
    follows: Option<Sha256Digest>,
    /// Since when the first event waits.
    waits_since: Option<Instant>,
}

enum Item {
    /// Not decoded before its turn: its type may be registered by a catalog event read later.
    Record(Box<Record>),
    Event {
        stored: Box<Stored<Event>>,
        record: Box<Record>,
    },
    End {
        next_offset: i64,
    },
}

impl Applier {
    pub(crate) fn new(model: Arc<Model>, ids: SchemaIds) -> Self {
        Self {
            model,
            ids,
            catalog: Catalog::default(),
            queues: BTreeMap::new(),
        }
    }

    /// The ledger was loaded: its next record goes on from there.
    pub(crate) fn resume(&mut self, ledger: i32, Reach { last_offset, chain }: Reach) {
        let ChainHead { next_seq, hash } = chain;
        let queue = self.queues.entry((Stream::Users, ledger)).or_default();
        (queue.expected, queue.follows) = (next_seq, Some(hash));
        self.model.positions.applied(Stream::Users, ledger, last_offset);
    }

    pub(crate) fn take(&mut self, item: TailItem) {
        let (place, item) = match item {
            TailItem::End {
                stream,
                partition,
                next_offset,
            } => ((stream, partition), Item::End { next_offset }),
            TailItem::Record(record) => ((record.stream, record.partition), Item::Record(Box::new(record))),
        };
        self.queues.entry(place).or_default().items.push_back(item);
    }

    /// How much of each partition waits.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Place, usize)> {
        self.queues
            .iter()
            .map(|(place, queue)| (*place, queue.items.len()))
    }

    /// Applies what can be; the error says what never can.
    pub(crate) fn apply(&mut self, now: Instant) -> Result<(), TailError> {
        // The catalog first: most of what waits, waits for it.
        let mut places: Vec<Place> = self.queues.keys().copied().collect();
        places.sort_by_key(|(stream, partition)| (*stream != Stream::Catalog, *partition));
        let mut progress = true;
        while progress {
            progress = false;
            for place in &places {
                let Some(mut queue) = self.queues.remove(place) else {
                    continue;
                };
                let outcome = self.drain(*place, &mut queue, now);
                self.queues.insert(*place, queue);
                progress |= outcome?;
            }
        }
        self.model.positions.announce();
        Ok(())
    }

    /// Applies a partition's items up to the first that must wait; true if there was any.
    fn drain(&mut self, place: Place, queue: &mut Queue, now: Instant) -> Result<bool, TailError> {
        let (mut last_applied, mut end, mut progress) = (None, None, false);
        while let Some(item) = queue.items.pop_front() {
            let (stored, record) = match item {
                Item::End { next_offset } => {
                    end = Some(next_offset);
                    progress = true;
                    continue;
                }
                Item::Event { stored, record } => (stored, record),
                Item::Record(record) => match self.decode(&record, queue)? {
                    Some(stored) => (Box::new(stored), record),
                    None => {
                        queue.items.push_front(Item::Record(record));
                        break;
                    }
                },
            };
            (queue.expected, queue.follows) = (stored.meta.chain_seq + 1, None);
            if self.must_wait(place, &stored, record.offset, &mut queue.waits_since, now) {
                queue.items.push_front(Item::Event { stored, record });
                break;
            }
            queue.waits_since = None;
            self.apply_event(place, &stored, record.offset);
            last_applied = Some((stored.meta.chain_seq, record));
            progress = true;
        }
        let positions = &self.model.positions;
        if let Some((seq, record)) = last_applied {
            // A catalog change counts as applied only once checks see it compiled.
            if place.0 == Stream::Catalog {
                self.model.set_catalog(&self.catalog);
            }
            positions.applied(place.0, place.1, record.offset);
            if place.0 == Stream::Users {
                self.model.reached(place.1, seq, record);
            }
        }
        if let Some(next_offset) = end {
            positions.advance(place.0, place.1, next_offset);
        }
        // Everything before the first record that waits is applied: the markers in between too, on
        // which another partition may rest in turn.
        if let Some(offset) = queue.items.front().and_then(Item::offset)
            && positions.next(place.0, place.1) < offset
        {
            positions.advance(place.0, place.1, offset);
            progress = true;
        }
        Ok(progress)
    }

    /// `None` where the catalog has not named the type's schema yet.
    fn decode(&mut self, record: &Record, queue: &Queue) -> Result<Option<Stored<Event>>, TailError> {
        let (stream, partition, offset) = (record.stream, record.partition, record.offset);
        let stored = match decode(record, &self.ids) {
            Err(DecodeError::SchemaId {
                source: SchemaIdError::Unregistered { .. },
                ..
            }) if stream != Stream::Catalog => return Ok(None),
            decoded => decoded?,
        };
        let expected = queue.expected;
        if stored.meta.chain_seq != expected {
            return Err(TailError::Gap {
                stream,
                partition,
                offset,
                expected,
                found: stored.meta.chain_seq,
            });
        }
        if queue.follows.is_some_and(|hash| hash != stored.meta.prev_hash) {
            return Err(TailError::Fork {
                stream,
                partition,
                offset,
            });
        }
        if let Event::Log(LogEvent::SchemaRegistered(event)) = &stored.data {
            let learnt = self.ids.learn(event).map_err(|source| DecodeError::SchemaId {
                stream,
                partition,
                offset,
                source,
            })?;
            if !learnt {
                let (name, version) = (&event.event_type, event.event_version);
                tracing::warn!("The log knows {name}/{version} now, and this program does not");
            }
        }
        Ok(Some(stored))
    }

    fn must_wait(
        &self,
        place: Place,
        stored: &Stored<Event>,
        offset: i64,
        since: &mut Option<Instant>,
        now: Instant,
    ) -> bool {
        let positions = &self.model.positions;
        let missing = || stored.meta.basis.iter().filter(|p| !positions.has(p));
        if missing().next().is_none() || !waits_for_basis(&stored.data) {
            return false;
        }
        if now.duration_since(*since.get_or_insert(now)) < PATIENCE {
            return true;
        }
        match place {
            (Stream::Catalog, _) => {
                missing().for_each(|p| positions.refuse_until(p.partition, p.offset));
                false
            }
            // What the catalog lacks concerns everybody: only those who wait for it are held back.
            (_, ledger) => {
                positions.refuse_until(ledger, offset);
                true
            }
        }
    }

    fn apply_event(&mut self, (stream, partition): Place, stored: &Stored<Event>, offset: i64) {
        match &stored.data {
            Event::User(event) => {
                self.model.apply_user(partition, &stored.meta, event);
                self.model.positions.applied(stream, partition, offset);
            }
            Event::Catalog(event) => self.catalog.apply(event),
            Event::Log(LogEvent::LedgerClaimed(claim)) => {
                let position = Position {
                    stream,
                    partition,
                    offset,
                };
                self.model.owners.learn(position, claim);
            }
            Event::Identifier(_) | Event::Log(_) => {}
        }
    }
}

impl Item {
    fn offset(&self) -> Option<i64> {
        match self {
            Self::Record(record) => Some(record.offset),
            Self::Event { record, .. } => Some(record.offset),
            Self::End { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
