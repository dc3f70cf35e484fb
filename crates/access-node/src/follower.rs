//! Applying the tail in an order that was true at some moment: an event waits for its basis.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use domain::catalog::Catalog;
use event_log::{Record, Tail, TailError, TailItem, decode};
use schemas::log::LogEvent;
use schemas::{Event, SchemaIds, Stored, Stream};

use crate::node::Model;

/// A partition that waits for another stops being fetched at this many records in memory.
const PAUSE_AT: usize = 10_000;
const BATCH: usize = 4_000;

pub(crate) struct Follower {
    tail: Tail,
    model: Arc<Model>,
    ids: SchemaIds,
    catalog: Catalog,
    waiting: HashMap<(Stream, i32), Waiting>,
    /// `chain_seq` of the next event of each partition: a lost event would be a wrong answer.
    expected: HashMap<(Stream, i32), i64>,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    paused: bool,
}

enum Item {
    Event { stored: Box<Stored<Event>>, offset: i64 },
    End { next_offset: i64 },
}

impl Follower {
    pub(crate) fn new(tail: Tail, model: Arc<Model>, ids: SchemaIds) -> Self {
        Self {
            tail,
            model,
            ids,
            catalog: Catalog::default(),
            waiting: HashMap::new(),
            expected: HashMap::new(),
        }
    }

    /// Follows until the tail ends; the error says why it cannot go on.
    pub(crate) async fn run(mut self) -> Result<(), TailError> {
        loop {
            let items = self.tail.next(BATCH).await?;
            for item in items {
                let (place, item) = self.read(item)?;
                self.waiting.entry(place).or_default().items.push_back(item);
            }
            self.apply_what_can_be()?;
            self.model.positions.announce();
        }
    }

    fn read(&mut self, item: TailItem) -> Result<((Stream, i32), Item), TailError> {
        match item {
            TailItem::End {
                stream,
                partition,
                next_offset,
            } => Ok(((stream, partition), Item::End { next_offset })),
            TailItem::Record(record) => {
                let stored = Box::new(self.decode(&record)?);
                self.check_chain(&record, stored.meta.chain_seq)?;
                Ok((
                    (record.stream, record.partition),
                    Item::Event {
                        stored,
                        offset: record.offset,
                    },
                ))
            }
        }
    }

    fn check_chain(&mut self, record: &Record, found: i64) -> Result<(), TailError> {
        let (stream, partition, offset) = (record.stream, record.partition, record.offset);
        let next = self.expected.entry((stream, partition)).or_default();
        if found != *next {
            return Err(TailError::Gap {
                stream,
                partition,
                offset,
                expected: *next,
                found,
            });
        }
        *next += 1;
        Ok(())
    }

    fn decode(&mut self, record: &Record) -> Result<Stored<Event>, TailError> {
        let stored = decode(record, &self.ids)?;
        if let Event::Log(LogEvent::SchemaRegistered(event)) = &stored.data
            && let Err(source) = self.ids.learn(event)
        {
            let (stream, partition, offset) = (record.stream, record.partition, record.offset);
            return Err(event_log::DecodeError::SchemaId {
                stream,
                partition,
                offset,
                source,
            }
            .into());
        }
        Ok(stored)
    }

    fn apply_what_can_be(&mut self) -> Result<(), TailError> {
        let mut progress = true;
        while progress {
            progress = false;
            // The catalog first: most of what waits, waits for it.
            let mut places: Vec<_> = self.waiting.keys().copied().collect();
            places.sort_by_key(|(stream, partition)| (*stream != Stream::Catalog, *partition));
            for place in places {
                progress |= self.apply_from(place);
            }
        }
        for (&(stream, partition), waiting) in &mut self.waiting {
            let full = waiting.items.len() >= PAUSE_AT;
            if full && !waiting.paused {
                self.tail.pause(stream, partition)?;
            } else if waiting.paused && waiting.items.is_empty() {
                self.tail.resume(stream, partition)?;
            } else {
                continue;
            }
            waiting.paused = full;
        }
        Ok(())
    }

    /// Applies a partition's items up to the first that must wait; true if there was any.
    fn apply_from(&mut self, place: (Stream, i32)) -> bool {
        let Some(waiting) = self.waiting.get_mut(&place) else {
            return false;
        };
        let positions = &self.model.positions;
        let (mut last_applied, mut end) = (None, None);
        let mut progress = false;
        while let Some(item) = waiting.items.front() {
            match item {
                Item::End { next_offset } => end = Some(*next_offset),
                Item::Event { stored, offset } => {
                    if !stored.meta.basis.iter().all(|p| positions.has(p)) {
                        break;
                    }
                    match &stored.data {
                        Event::User(event) => {
                            self.model.apply_user(place.1, &stored.meta, event);
                            positions.applied(place.0, place.1, *offset);
                        }
                        Event::Catalog(event) => self.catalog.apply(event),
                        Event::Identifier(_) | Event::Log(_) => {}
                    }
                    last_applied = Some(*offset);
                }
            }
            waiting.items.pop_front();
            progress = true;
        }
        if let Some(offset) = last_applied {
            // A catalog change counts as applied only once checks see it compiled.
            if place.0 == Stream::Catalog {
                self.model.set_catalog(self.catalog.compile());
            }
            positions.applied(place.0, place.1, offset);
        }
        if let Some(next_offset) = end {
            positions.advance(place.0, place.1, next_offset);
        }
        // Everything before the first record that waits is applied: the markers in between too, on
        // which another partition may rest in turn.
        if let Some(Item::Event { offset, .. }) = waiting.items.front()
            && positions.next(place.0, place.1) < *offset
        {
            positions.advance(place.0, place.1, *offset);
            progress = true;
        }
        progress
    }
}
