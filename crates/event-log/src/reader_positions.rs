//! How far a reader has come, where Kafka keeps it: as the offsets of a consumer group that nobody joins.
//!
//! For readers that keep nothing else. Who shares partitions out among instances is [`crate::Membership`];
//! a group with members takes offsets from its members only.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use schemas::Stream;

use crate::config::KafkaConfig;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Of one reader, by partition of a stream.
#[derive(Clone)]
pub struct ReaderPositions {
    consumer: Arc<BaseConsumer>,
    topic: String,
}

impl ReaderPositions {
    /// `reader` names it, under the log's prefix.
    pub fn new(config: &KafkaConfig, reader: &str, stream: Stream) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = config.member(&format!("{reader}-positions")).create()?;
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: config.topics().of(stream),
        })
    }

    /// Offset of the next record; none where the reader has never been, or not for longer than Kafka remembers.
    pub async fn get(&self, partition: i32) -> Result<Option<i64>, KafkaError> {
        let positions = self.clone();
        blocking(move || {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(&positions.topic, partition);
            let found = positions.consumer.committed_offsets(wanted, TIMEOUT)?;
            let found = found.find_partition(&positions.topic, partition);
            Ok(match found.map(|it| it.offset()) {
                Some(Offset::Offset(next)) => Some(next),
                _ => None,
            })
        })
        .await
    }

    pub async fn set(&self, partition: i32, next: i64) -> Result<(), KafkaError> {
        let positions = self.clone();
        blocking(move || {
            let mut reached = TopicPartitionList::new();
            reached.add_partition_offset(&positions.topic, partition, Offset::Offset(next))?;
            positions.consumer.commit(&reached, CommitMode::Sync)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| KafkaError::ClientCreation(error.to_string()))?
}
