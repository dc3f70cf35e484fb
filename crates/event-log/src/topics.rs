//! Names of the topics, and making them.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka_sys::rd_kafka_resp_err_t;
use schemas::Stream;

use crate::config::KafkaConfig;

/// Kafka lets go of overwritten keys only in closed segments, and closes a segment only on an append:
/// so each owner appends something this often even where no user's key changes.
pub const HEARTBEAT: Duration = Duration::from_secs(3600);
/// Key of those records in the keys topic; their value is empty.
pub const HEARTBEAT_KEY: &[u8] = b"heartbeat";
const FILES_STAY: Duration = Duration::from_secs(60);
const METADATA: Duration = Duration::from_secs(5);

/// Topic names under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub fn of(&self, stream: Stream) -> String {
        format!("{}.{}", self.prefix, stream.name())
    }

    pub fn keys(&self) -> String {
        format!("{}.keys", self.prefix)
    }

    /// Stays empty: its partitions stand for the writer groups where these are shared out.
    pub fn writers(&self) -> String {
        format!("{}.writers", self.prefix)
    }

    /// Stays empty: its partitions stand for the shards where these are shared out among projectors.
    pub fn projectors(&self) -> String {
        format!("{}.projectors", self.prefix)
    }
}

/// Makes the log's topics where they are missing. Retention is unlimited for events; the keys
/// topic is compacted.
pub(crate) async fn create(config: &KafkaConfig, ledgers: i32, replication: i32) -> Result<(), KafkaError> {
    let topics = config.topics();
    let segment = config.key_segment.as_millis().to_string();
    // Files of a compacted segment stay for a minute by default.
    let delay = config.key_segment.min(FILES_STAY).as_millis().to_string();
    let min_insync = if replication >= 3 { "2" } else { "1" };
    let names = [
        (topics.of(Stream::Users), ledgers, false),
        (topics.of(Stream::Identifiers), ledgers, false),
        (topics.of(Stream::Catalog), 1, false),
        (topics.keys(), ledgers, true),
    ];
    let wanted: Vec<NewTopic<'_>> = names
        .iter()
        .map(|(name, partitions, compacted)| {
            let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(replication))
                .set("min.insync.replicas", min_insync)
                .set("unclean.leader.election.enable", "false")
                .set("message.timestamp.type", "LogAppendTime");
            if *compacted {
                topic
                    .set("cleanup.policy", "compact")
                    .set("segment.ms", &segment)
                    .set("max.compaction.lag.ms", &segment)
                    .set("file.delete.delay.ms", &delay)
            } else {
                topic.set("retention.ms", "-1").set("retention.bytes", "-1")
            }
        })
        .collect();
    create_missing(config, &wanted).await
}

/// Makes the topic that the writer groups are shared out by, where it is missing.
pub(crate) async fn create_writers(
    config: &KafkaConfig,
    groups: i32,
    replication: i32,
) -> Result<(), KafkaError> {
    let name = config.topics().writers();
    let partitions = crate::ownership::writer_partitions(groups);
    let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(replication));
    create_missing(config, &[topic]).await
}

/// Makes the topic that shards are shared out by, with at least so many partitions, on as many brokers as the
/// catalog. The log must exist.
pub async fn create_projectors(config: &KafkaConfig, shards: i32) -> Result<(), KafkaError> {
    let (topic, catalog) = (config.topics().projectors(), config.topics().of(Stream::Catalog));
    let asking = config.clone();
    let look = move || -> Result<(i32, i32), KafkaError> {
        let consumer: BaseConsumer = asking.client().create()?;
        let replicas = replicas(&consumer, &catalog, METADATA)?;
        Ok((replicas, partitions(&consumer, &topic, METADATA)?))
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let (replicas, there) = looked.map_err(|error| KafkaError::ClientCreation(error.to_string()))??;
    let name = config.topics().projectors();
    if there == 0 {
        let topic = NewTopic::new(&name, shards, TopicReplication::Fixed(replicas));
        return create_missing(config, &[topic]).await;
    }
    if there < shards {
        let admin: AdminClient<DefaultClientContext> = config.client().create()?;
        let more = NewPartitions::new(&name, usize::try_from(shards).unwrap_or_default());
        for outcome in admin.create_partitions(&[more], &AdminOptions::new()).await? {
            outcome.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
    }
    Ok(())
}

async fn create_missing(config: &KafkaConfig, wanted: &[NewTopic<'_>]) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = config.client().create()?;
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(15)));
    for outcome in admin.create_topics(wanted, &options).await? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(())
}

/// On how many brokers a topic's first partition is.
fn replicas(consumer: &BaseConsumer, topic: &str, timeout: Duration) -> Result<i32, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let count = found.and_then(|it| Some(it.partitions().first()?.replicas().len()));
    Ok(count.map_or(1, |count| i32::try_from(count).unwrap_or(1)))
}

/// Partition count of a topic, 0 where it does not exist. Blocks for at most `timeout`.
pub(crate) fn partitions(consumer: &BaseConsumer, topic: &str, timeout: Duration) -> Result<i32, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let Some(found) = metadata.topics().iter().find(|it| it.name() == topic) else {
        return Ok(0);
    };
    match found.error() {
        None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
        Some(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(0),
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
    }
}
