//! The log as a reader of committed records sees it.

use std::collections::HashMap;

use event_log::identity::LogIdentity;
use event_log::{HighWatermarks, KafkaConfig, Record, Tail, TailItem, decode};
use schemas::user::UserEvent;
use schemas::{Event, Position, Stored, Stream, UserId};

use crate::World;

/// Everything in the log at one moment, in order within each partition.
pub struct History {
    pub records: Vec<Record>,
    pub events: Vec<(Position, Stored<Event>)>,
}

impl World {
    /// Reads the whole log, headers included.
    pub async fn history(&self) -> History {
        History::of(&self.kafka(), &self.identity).await
    }
}

impl History {
    /// As [`World::history`], of any log.
    pub async fn of(config: &KafkaConfig, identity: &LogIdentity) -> Self {
        let places: Vec<(Stream, i32)> = Stream::ALL
            .into_iter()
            .flat_map(|stream| {
                let count = if stream == Stream::Catalog {
                    1
                } else {
                    identity.created.ledgers
                };
                (0..count).map(move |partition| (stream, partition))
            })
            .collect();
        let ends = HighWatermarks::new(config, places.clone())
            .unwrap()
            .latest()
            .await
            .unwrap();
        let mut open: HashMap<(Stream, i32), i64> =
            ends.iter().copied().filter(|(_, end)| *end > 0).collect();
        let start: Vec<_> = open
            .keys()
            .map(|&(stream, partition)| (stream, partition, 0))
            .collect();
        let mut tail = Tail::open_with_headers(config, &start).unwrap();
        let mut records = Vec::new();
        while !open.is_empty() {
            for item in tail.next(1_000).await.unwrap() {
                let (place, next) = match item {
                    TailItem::Record(record) => {
                        let (place, next) = ((record.stream, record.partition), record.offset + 1);
                        records.push(record);
                        (place, next)
                    }
                    TailItem::End {
                        stream,
                        partition,
                        next_offset,
                    } => ((stream, partition), next_offset),
                };
                if open.get(&place).is_some_and(|end| next >= *end) {
                    open.remove(&place);
                }
            }
        }
        let ids = &identity.schema_ids;
        let event = |record: &Record| {
            let Record {
                stream,
                partition,
                offset,
                ..
            } = *record;
            (
                Position {
                    stream,
                    partition,
                    offset,
                },
                decode(record, ids).unwrap(),
            )
        };
        Self {
            events: records.iter().map(event).collect(),
            records,
        }
    }

    /// The events of one user, in order.
    pub fn of_user(&self, user: UserId) -> Vec<&UserEvent> {
        let id = user.to_string();
        let of_user = self
            .events
            .iter()
            .filter(|(_, stored)| stored.meta.aggregate_id == id);
        of_user
            .filter_map(|(_, stored)| match &stored.data {
                Event::User(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// Their names.
    pub fn names_of_user(&self, user: UserId) -> Vec<&'static str> {
        self.of_user(user)
            .iter()
            .map(|event| event.event_type().name)
            .collect()
    }

    /// Wrong passwords told by each event about them.
    pub fn failures_of_user(&self, user: UserId) -> Vec<i32> {
        let events = self.of_user(user).into_iter();
        events
            .filter_map(|event| match event {
                UserEvent::LoginFailed(failed) => Some(failed.count),
                _ => None,
            })
            .collect()
    }
}
