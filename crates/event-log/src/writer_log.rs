//! What a writer group needs of the log underneath: Kafka in production, memory in tests.

use std::borrow::Cow;
use std::ops::ControlFlow;

use rdkafka::error::KafkaError;
use schemas::{LogId, Stream};

use crate::record::{DecodeError, Record};
use crate::watermarks::WatermarkError;

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    Event(Stream, i32),
    /// The compacted keys topic, not chained.
    Key(i32),
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub target: Target,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

/// A transaction that did not end in a clear "committed".
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another owner has the transactional id, or the broker gave it up.
    #[error("fenced by another writer")]
    Fenced,
    /// Committed or not: only the log can tell.
    #[error("the transaction's outcome is unclear: {0}")]
    Unclear(String),
}

#[derive(Debug, thiserror::Error)]
pub enum WriterLogError {
    #[error("Kafka")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("reading the ledger stopped making progress")]
    Stalled,
    #[error(
        "{stream:?}-{partition} ends at offset {end}, but its owner had written up to {reached}: the topic was deleted, made anew or cut"
    )]
    SetBack {
        stream: Stream,
        partition: i32,
        end: i64,
        reached: i64,
    },
    #[error(
        "{stream:?}-{partition} ends at {end}, before its snapshot's {snapshot}: the topic was truncated or made anew"
    )]
    Shorter {
        stream: Stream,
        partition: i32,
        end: i64,
        snapshot: i64,
    },
    #[error("the ledger at {stream:?}-{partition}@{offset} does not continue its chain")]
    BrokenChain {
        stream: Stream,
        partition: i32,
        offset: i64,
    },
}

/// A log that can be claimed, written in transactions and read back. Calls block: each writer
/// group has a thread of its own.
pub trait WriterLog: Send + Sync + 'static {
    type Transaction: WriterTransaction;
    /// What a reading leaves open, so that the next one, of what follows, begins at once.
    type Reader: Default + Send;

    /// Takes the transactional id over. Returns once the former owner is fenced and its last
    /// transaction is settled, markers written. `ready` is called right before anybody is fenced, when all that
    /// can be prepared is.
    fn claim(
        &self,
        transactional_id: &str,
        ready: &mut dyn FnMut(),
    ) -> Result<Self::Transaction, WriterLogError>;

    /// Committed records of the partitions from each start up to its `until` (exclusive).
    fn read(
        &self,
        reader: &mut Self::Reader,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError>;

    /// Offset behind the last record, open transactions and markers included.
    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError>;

    /// Offset behind the last record that can be read at this moment: where a transaction is open, its first.
    /// Partitions may be asked one after the other.
    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError>;

    /// Full topic name, as the hash chain takes it in.
    fn topic(&self, stream: Stream) -> String;

    fn log_id(&self) -> LogId;
}

/// A transaction that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Of the records, in the order given.
    pub offsets: Vec<i64>,
    /// How far this machine's clock is ahead of the broker's (behind: negative), in milliseconds, as
    /// far as the broker's time stamps prove it. What the way to the broker may explain counts as 0.
    pub clock_ahead_ms: i64,
}

/// The right to write, until another claims the same id.
pub trait WriterTransaction: Send {
    /// Appends all records in one transaction.
    fn commit(&mut self, records: &[Outgoing]) -> Result<Committed, CommitError>;
}
