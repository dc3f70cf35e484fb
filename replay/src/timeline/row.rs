//! One event on the screen or as a line of JSON.

use event_log::Record;
use schemas::user::UserEvent;
use schemas::{Actor, Event, EventType, Meta, Position, Stored, Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;

use super::describe::{describe, role_of};
use super::personal_data::{Field, PersonalData, Shown, sealed_fields};
use super::roles::RoleNames;
use crate::error::Error;

/// `user:` and a UUID.
const ACTOR_WIDTH: usize = 41;

/// An event with its place.
#[derive(Clone, Debug)]
pub struct Row {
    pub position: Position,
    pub appended_at: Timestamp,
    pub event_type: &'static EventType,
    pub meta: Meta,
    pub event: Event,
}

/// The fields of a JSON line, in this order.
#[derive(Serialize)]
struct JsonLine<'a> {
    position: Position,
    event_type: &'static str,
    event_version: i32,
    /// The broker's clock; `meta.occurred_at` is the writer's.
    appended_at: Timestamp,
    meta: &'a Meta,
    data: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_name: Option<&'a str>,
}

impl Row {
    pub fn of(record: &Record, stored: Stored<Event>) -> Self {
        let (stream, partition, offset) = (record.stream, record.partition, record.offset);
        Self {
            position: Position {
                stream,
                partition,
                offset,
            },
            appended_at: Timestamp::from_micros(record.timestamp_ms.saturating_mul(1_000)),
            event_type: record.event_type,
            meta: stored.meta,
            event: stored.data,
        }
    }

    /// Time, offset, event, actor and a few words, aligned for offsets below `end`.
    pub fn line(&self, end: i64, user: UserId, data: &PersonalData, roles: &RoleNames) -> String {
        let actor = match self.meta.actor {
            Actor::User(id) | Actor::Service(id) if id == user => "self".to_owned(),
            other => other.to_string(),
        };
        let (at, offset) = (self.meta.occurred_at, self.position.offset);
        let (offset_width, name_width) = (end.to_string().len(), name_width());
        let name = self.event_type.name;
        let words = self.words(data, roles);
        format!("{at}  {offset:>offset_width$}  {name:<name_width$}  {actor:<ACTOR_WIDTH$}  {words}")
            .trim_end()
            .to_owned()
    }

    fn words(&self, data: &PersonalData, roles: &RoleNames) -> String {
        let Event::User(event) = &self.event else {
            return String::new();
        };
        let mut words = describe(event, roles);
        for (name, field, sealed) in sealed_fields(event) {
            if field == Field::Personal {
                // Quoted where someone typed it: neither a line break nor a "<sealed>" can be faked.
                let value = match data.show(name, field, sealed) {
                    Shown::Text(text) => format!("{text:?}"),
                    Shown::Mark(mark) => mark.to_owned(),
                };
                words = format!("{words} {name}={value}");
            }
        }
        words.trim_start().to_owned()
    }

    /// The whole event on one line of JSON.
    pub fn json(&self, data: &PersonalData, roles: &RoleNames) -> Result<String, Error> {
        let line = JsonLine {
            position: self.position,
            event_type: self.event_type.name,
            event_version: self.event_type.version,
            appended_at: self.appended_at,
            meta: &self.meta,
            data: self.payload(data)?,
            role_name: match &self.event {
                Event::User(event) => role_of(event).and_then(|id| roles.get(id)),
                Event::Identifier(_) | Event::Catalog(_) | Event::Log(_) => None,
            },
        };
        Ok(serde_json::to_string(&line)?)
    }

    fn payload(&self, data: &PersonalData) -> Result<Value, Error> {
        let Event::User(event) = &self.event else {
            return Ok(inner(serde_json::to_value(&self.event)?));
        };
        let mut payload = inner(serde_json::to_value(event)?);
        for (name, field, sealed) in sealed_fields(event) {
            payload[name] = match data.show(name, field, sealed) {
                Shown::Text(text) => text.into(),
                Shown::Mark(mark) => mark.into(),
            };
        }
        Ok(payload)
    }
}

/// What stands under the variant's name.
fn inner(tagged: Value) -> Value {
    match tagged {
        Value::Object(map) if map.len() == 1 => {
            map.into_iter().next().map_or(Value::Null, |(_, value)| value)
        }
        other => other,
    }
}

fn name_width() -> usize {
    UserEvent::TYPES.iter().map(|t| t.name.len()).max().unwrap_or(0)
}
