//! How far a reader has come, where Kafka keeps it: as the offsets of a consumer group that nobody joins.
//!
//! For readers that keep nothing else. Who shares partitions out among instances is [`crate::Membership`];
//! a group with members takes offsets from its members only.

use std::collections::BTreeMap;
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

    /// Offset of the next record of each of these; none where the reader has never been, or not for longer than
    /// Kafka remembers.
    pub async fn get(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let (positions, partitions) = (self.clone(), partitions.to_vec());
        blocking(move || {
            let mut wanted = TopicPartitionList::new();
            for partition in partitions {
                wanted.add_partition(&positions.topic, partition);
            }
            let found = positions.consumer.committed_offsets(wanted, TIMEOUT)?;
            let elements = found.elements();
            let known = elements.iter().filter_map(|it| match it.offset() {
                Offset::Offset(next) => Some((it.partition(), next)),
                _ => None,
            });
            Ok(known.collect())
        })
        .await
    }

    pub async fn set(&self, positions: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        let (own, positions) = (self.clone(), positions.clone());
        blocking(move || {
            let mut reached = TopicPartitionList::new();
            for (partition, next) in positions {
                reached.add_partition_offset(&own.topic, partition, Offset::Offset(next))?;
            }
            own.consumer.commit(&reached, CommitMode::Sync)
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
