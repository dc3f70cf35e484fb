//! Schema ids as the log itself records them.

use std::collections::HashMap;

use crate::events::{EventType, event_types, find_event_type};
use crate::log::SchemaRegistered;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaIdError {
    #[error("schema id {found} of {name} version {version} is not the log's own ({expected})")]
    Mismatch {
        name: String,
        version: i32,
        expected: i32,
        found: i32,
    },
    #[error("the log has no schema id for {name} version {version} yet")]
    Unregistered { name: String, version: i32 },
    #[error("the log's schema of {name} version {version} differs from this program's")]
    Fingerprint { name: String, version: i32 },
}

/// The ids under which this log's records are framed, learnt from `schema.registered`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaIds {
    by_type: HashMap<(&'static str, i32), i32>,
}

impl SchemaIds {
    /// Takes in one `schema.registered`; refuses a schema that this program knows differently. One
    /// that it does not know at all gives `false`: the log is newer, and the first record of that type
    /// stops whoever meets it.
    pub fn learn(&mut self, event: &SchemaRegistered) -> Result<bool, SchemaIdError> {
        let (name, version) = (event.event_type.clone(), event.event_version);
        let known = match name.as_str() {
            "key.stored" => Some(&crate::key::KEY_STORED),
            other => find_event_type(other, version),
        };
        let Some(known) = known else { return Ok(false) };
        match crate::codec::schema_text(known) {
            Ok((_, fingerprint)) if fingerprint == event.fingerprint => {}
            _ => return Err(SchemaIdError::Fingerprint { name, version }),
        }
        self.by_type.insert((known.name, known.version), event.schema_id);
        Ok(true)
    }

    /// The id to write under.
    pub fn id_of(&self, event_type: &EventType) -> Result<i32, SchemaIdError> {
        self.by_type
            .get(&(event_type.name, event_type.version))
            .copied()
            .ok_or_else(|| SchemaIdError::Unregistered {
                name: event_type.name.to_owned(),
                version: event_type.version,
            })
    }

    /// Checks the id found in a record against the log's own.
    pub fn check(&self, event_type: &EventType, found: i32) -> Result<(), SchemaIdError> {
        let expected = self.id_of(event_type)?;
        if expected == found {
            return Ok(());
        }
        Err(SchemaIdError::Mismatch {
            name: event_type.name.to_owned(),
            version: event_type.version,
            expected,
            found,
        })
    }

    /// Types of this program that the log has no id for yet: what start-up must register.
    pub fn missing(&self) -> Vec<&'static EventType> {
        event_types()
            .chain([&crate::key::KEY_STORED])
            .filter(|t| !self.by_type.contains_key(&(t.name, t.version)))
            .collect()
    }

    /// For tests and in-memory logs: every type under a made-up id.
    pub fn numbered() -> Self {
        let types = event_types().chain([&crate::key::KEY_STORED]);
        let by_type = (1..)
            .zip(types)
            .map(|(id, t)| ((t.name, t.version), id))
            .collect();
        Self { by_type }
    }
}
