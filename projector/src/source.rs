//! The log as the projector reads it: Kafka, or records in memory.

use std::future::Future;

use event_log::{KafkaConfig, TailError, TailItem, Topics};
use schemas::Stream;

/// Something that tails can be opened on.
pub trait Log: Clone + Send + Sync + 'static {
    type Tail: Tail;

    /// Reads on from each `(stream, partition, offset)`.
    fn open(&self, start: &[(Stream, i32, i64)]) -> Result<Self::Tail, TailError>;
    fn topics(&self) -> Topics;
}

/// Records of several partitions, in order within each.
pub trait Tail: Send {
    /// At least one item. Must be cancel-safe: a dropped call loses none.
    fn next(&mut self, max: usize) -> impl Future<Output = Result<Vec<TailItem>, TailError>> + Send;
    /// Stops fetching a partition; items already buffered still come.
    fn pause(&self, stream: Stream, partition: i32) -> Result<(), TailError>;
    fn resume(&self, stream: Stream, partition: i32) -> Result<(), TailError>;
}

impl Log for KafkaConfig {
    type Tail = event_log::Tail;

    fn open(&self, start: &[(Stream, i32, i64)]) -> Result<Self::Tail, TailError> {
        event_log::Tail::open(self, start)
    }

    fn topics(&self) -> Topics {
        Self::topics(self)
    }
}

impl Tail for event_log::Tail {
    fn next(&mut self, max: usize) -> impl Future<Output = Result<Vec<TailItem>, TailError>> + Send {
        Self::next(self, max)
    }

    fn pause(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        Self::pause(self, stream, partition)
    }

    fn resume(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        Self::resume(self, stream, partition)
    }
}
