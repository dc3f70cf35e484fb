//! CloudEvents 1.0 binary-mode headers (Kafka protocol binding) and W3C trace context.

use std::borrow::Cow;

use crate::events::{Event, EventType, find_event_type};
use crate::meta::Meta;
use ids::LogId;

/// Header names.
pub mod ce {
    pub const SPEC_VERSION: &str = "ce_specversion";
    pub const ID: &str = "ce_id";
    pub const TYPE: &str = "ce_type";
    pub const SOURCE: &str = "ce_source";
    pub const TIME: &str = "ce_time";
    pub const SUBJECT: &str = "ce_subject";
    pub const DATA_SCHEMA: &str = "ce_dataschema";
    pub const CONTENT_TYPE: &str = "content-type";
    pub const TRACE_PARENT: &str = "traceparent";
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {name} is {found:?}, the event says {expected:?}")]
    Differs {
        name: &'static str,
        expected: String,
        found: String,
    },
    #[error("header ce_dataschema {0:?} names no known schema")]
    DataSchema(String),
}

/// The headers that repeat what the value says, so that a consumer can route unopened records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEventHeaders(Vec<(&'static str, Cow<'static, str>)>);

impl CloudEventHeaders {
    pub fn of(log_id: LogId, event: &Event, meta: &Meta) -> Self {
        let event_type = event.event_type();
        Self(vec![
            (ce::SPEC_VERSION, "1.0".into()),
            (ce::ID, meta.event_id.to_string().into()),
            (ce::TYPE, event_type.name.into()),
            (ce::SOURCE, format!("urn:rolecall:{log_id}").into()),
            (ce::TIME, meta.occurred_at.to_string().into()),
            (ce::SUBJECT, meta.aggregate_id.clone().into()),
            (ce::DATA_SCHEMA, data_schema(event_type).into()),
            (ce::CONTENT_TYPE, "application/avro".into()),
        ])
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Names and values, to be sent.
    pub fn into_vec(self) -> Vec<(&'static str, Cow<'static, str>)> {
        self.0
    }

    /// Compares with what stands in a record; `find` gives a header's value.
    pub fn verify<'a>(&self, find: impl Fn(&str) -> Option<&'a [u8]>) -> Result<(), HeaderError> {
        for (name, expected) in &self.0 {
            let found = find(name).ok_or(HeaderError::Missing(name))?;
            if found != expected.as_bytes() {
                return Err(HeaderError::Differs {
                    name,
                    expected: expected.clone().into_owned(),
                    found: String::from_utf8_lossy(found).into_owned(),
                });
            }
        }
        Ok(())
    }
}

/// `rolecall:<name>/<version>`: the URI of `ce_dataschema`.
pub fn data_schema(event_type: &EventType) -> String {
    format!("rolecall:{}/{}", event_type.name, event_type.version)
}

/// The event type that a `ce_dataschema` header names.
pub fn parse_data_schema(value: &[u8]) -> Result<&'static EventType, HeaderError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.strip_prefix("rolecall:")?.rsplit_once('/'))
        .and_then(|(name, version)| find_event_type(name, version.parse().ok()?))
        .ok_or_else(|| HeaderError::DataSchema(String::from_utf8_lossy(value).into_owned()))
}
