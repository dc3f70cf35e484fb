//! A blocking reader of chosen partitions from chosen offsets.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::config::KafkaConfig;
use crate::native::{ConsumerQueue, Headers, Polled};

const BATCH: usize = 2_000;

struct Reading;

impl ClientContext for Reading {
    /// What was left unread when a reader goes is told of as an error.
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, "A reader of the log: {reason}");
        }
    }
}

impl ConsumerContext for Reading {}

/// Reads committed records. Not thread-shared: one thread polls it.
pub(crate) struct Reader {
    queue: ConsumerQueue,
    consumer: BaseConsumer<Reading>,
    headers: Headers,
}

impl Reader {
    /// `start`: topic, partition and the offset of the first record wanted.
    pub(crate) fn open(
        config: &KafkaConfig,
        start: &[(String, i32, i64)],
        headers: Headers,
    ) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<_> = config.reader().create_with_context(Reading)?;
        let mut partitions = TopicPartitionList::with_capacity(start.len());
        for (topic, partition, offset) in start {
            partitions.add_partition_offset(topic, *partition, starting_at(*offset))?;
        }
        consumer.assign(&partitions)?;
        Ok(Self {
            queue: ConsumerQueue::of(&consumer, BATCH),
            consumer,
            headers,
        })
    }

    pub(crate) fn poll(&mut self, timeout: Duration) -> Vec<Polled> {
        self.queue.poll(timeout, self.headers)
    }

    pub(crate) fn pause(&self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        self.consumer.pause(&one(topic, partition))
    }

    pub(crate) fn resume(&self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        self.consumer.resume(&one(topic, partition))
    }
}

/// Negative offsets are librdkafka's logical ones.
fn starting_at(offset: i64) -> Offset {
    if offset == -2 {
        Offset::Beginning
    } else {
        Offset::Offset(offset)
    }
}

fn one(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    list
}
