//! A record of the log, and turning it back into an event.

use schemas::{CodecError, Event, EventType, HeaderError, SchemaIdError, SchemaIds, Stored, Stream, unframe};

/// A committed record as read from Kafka.
#[derive(Clone, Debug)]
pub struct Record {
    pub stream: Stream,
    pub partition: i32,
    pub offset: i64,
    /// The broker's stamp (LogAppendTime), milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The type its `ce_dataschema` header names.
    pub event_type: &'static EventType,
    /// All headers in order; empty unless the tail was opened with them.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What a tail yields, in order within a partition.
#[derive(Clone, Debug)]
pub enum TailItem {
    Record(Record),
    /// Everything before `next_offset` is read: raises the position past transaction markers and
    /// aborted records, which are never delivered.
    End {
        stream: Stream,
        partition: i32,
        next_offset: i64,
    },
}

impl TailItem {
    /// Its partition, and the offset behind it.
    pub fn place_and_next(&self) -> ((Stream, i32), i64) {
        match self {
            Self::Record(record) => ((record.stream, record.partition), record.offset + 1),
            Self::End {
                stream,
                partition,
                next_offset,
            } => ((*stream, *partition), *next_offset),
        }
    }
}

/// A record that cannot be read. Its reader stops there: nothing is ever skipped.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("record {stream:?}-{partition}@{offset}")]
    Header {
        stream: Stream,
        partition: i32,
        offset: i64,
        source: HeaderError,
    },
    #[error("record {stream:?}-{partition}@{offset}")]
    SchemaId {
        stream: Stream,
        partition: i32,
        offset: i64,
        source: SchemaIdError,
    },
    #[error("record {stream:?}-{partition}@{offset}")]
    Codec {
        stream: Stream,
        partition: i32,
        offset: i64,
        source: CodecError,
    },
}

/// Reads the event out of a record. The framing's schema id must be the log's own.
pub fn decode(record: &Record, ids: &SchemaIds) -> Result<Stored<Event>, DecodeError> {
    let (stream, partition, offset) = (record.stream, record.partition, record.offset);
    let codec = |source| DecodeError::Codec {
        stream,
        partition,
        offset,
        source,
    };
    let (id, body) = unframe(&record.value).map_err(codec)?;
    ids.check(record.event_type, id)
        .map_err(|source| DecodeError::SchemaId {
            stream,
            partition,
            offset,
            source,
        })?;
    Event::decode_as(record.event_type, body).map_err(codec)
}

/// As [`decode`], for the catalog's first events, which are what teaches the ids.
pub(crate) fn decode_unchecked(record: &Record) -> Result<(i32, Stored<Event>), DecodeError> {
    let (stream, partition, offset) = (record.stream, record.partition, record.offset);
    let codec = |source| DecodeError::Codec {
        stream,
        partition,
        offset,
        source,
    };
    let (id, body) = unframe(&record.value).map_err(codec)?;
    Ok((id, Event::decode_as(record.event_type, body).map_err(codec)?))
}
