//! High watermarks: how far the log reaches at this moment, open transactions included. And last stable offsets: without.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use schemas::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::config::KafkaConfig;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Of [`HighWatermarks`]: how long the first request may take, and all that follow failures together.
const ATTEMPT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);
const BACKOFF: Duration = Duration::from_millis(50);
const METADATA: Duration = Duration::from_secs(1);
/// Askers waiting at once; each answer serves all that came before it was asked for.
const WAITING: usize = 4_096;

#[derive(Clone, Debug, thiserror::Error)]
pub enum WatermarkError {
    #[error("asking Kafka for the end of the log: {0}")]
    Kafka(Arc<KafkaError>),
    #[error("Kafka did not tell the end of {0}-{1}")]
    Missing(String, i32),
    #[error("too many requests wait for the end of the log")]
    Busy,
}

/// The high watermark (offset of the next record) of each partition asked for, in that order; its last stable offset, if
/// the consumer is a [`stable_client`].
pub(crate) fn query(
    consumer: &BaseConsumer,
    config: &KafkaConfig,
    partitions: &[(Stream, i32)],
) -> Result<Vec<i64>, WatermarkError> {
    let topics = config.topics();
    let places: Vec<(String, i32)> = partitions.iter().map(|&(s, p)| (topics.of(s), p)).collect();
    ends(consumer, &places)
}

/// As [`query`], of any topics.
pub(crate) fn ends(consumer: &BaseConsumer, places: &[(String, i32)]) -> Result<Vec<i64>, WatermarkError> {
    ends_within(consumer, places, TIMEOUT)
}

fn ends_within(
    consumer: &BaseConsumer,
    places: &[(String, i32)],
    at_most: Duration,
) -> Result<Vec<i64>, WatermarkError> {
    offsets(consumer, places, Offset::End, at_most).inspect_err(|_| ask_for_leaders(consumer, places))
}

/// As [`ends`], asked again where the failure may pass: the first request after a broker came back goes to a
/// connection or a leader that is gone.
fn ends_in_the_end(consumer: &BaseConsumer, places: &[(String, i32)]) -> Result<Vec<i64>, WatermarkError> {
    let (began, mut pause, mut at_most) = (Instant::now(), BACKOFF, ATTEMPT);
    loop {
        match ends_within(consumer, places, at_most) {
            Err(error) if began.elapsed() + pause < PATIENCE => {
                tracing::debug!("Asking again for the end of the log: {error}");
                std::thread::sleep(pause);
                pause *= 2;
                // A broker that is slow, and not gone, gets the time that there is.
                at_most = PATIENCE.saturating_sub(began.elapsed()).max(BACKOFF);
            }
            answer => return answer,
        }
    }
}

/// The first (`Beginning`) or next (`End`) offset of each partition, in that order.
pub(crate) fn offsets(
    consumer: &BaseConsumer,
    places: &[(String, i32)],
    which: Offset,
    at_most: Duration,
) -> Result<Vec<i64>, WatermarkError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted = TopicPartitionList::with_capacity(places.len());
    let kafka = |error| WatermarkError::Kafka(Arc::new(error));
    for (topic, partition) in places {
        // A look-up "by time" of a logical offset is one ListOffsets request a broker.
        wanted
            .add_partition_offset(topic, *partition, which)
            .map_err(kafka)?;
    }
    let found = consumer.offsets_for_times(wanted, at_most).map_err(kafka)?;
    let end = |(topic, partition): &(String, i32)| {
        let found = found.find_partition(topic, *partition);
        match found.map(|p| (p.offset(), p.error())) {
            Some((Offset::Offset(offset), Ok(()))) => Ok(offset),
            Some((_, Err(error))) => Err(kafka(error)),
            _ => Err(WatermarkError::Missing(topic.clone(), *partition)),
        }
    };
    places.iter().map(end).collect()
}

/// After a failure: librdkafka repeats a request of a fenced leader epoch as it is until it times out, and
/// asks for new metadata of its own accord only minutes later.
fn ask_for_leaders(consumer: &BaseConsumer, places: &[(String, i32)]) {
    let topics: BTreeSet<&str> = places.iter().map(|(topic, _)| topic.as_str()).collect();
    for topic in topics {
        if let Err(error) = consumer.fetch_metadata(Some(topic), METADATA) {
            tracing::debug!("Asking for the leaders of {topic}: {error}");
            return;
        }
    }
}

/// A client of its own for this, since ListOffsets answers by the client's isolation level.
pub(crate) fn client(config: &KafkaConfig) -> Result<BaseConsumer, KafkaError> {
    isolated(config, "read_uncommitted")
}

/// Asked for the end, it gives the last stable offset.
pub(crate) fn stable_client(config: &KafkaConfig) -> Result<BaseConsumer, KafkaError> {
    isolated(config, "read_committed")
}

/// Has librdkafka's own words on a failure logged, such as why a handshake failed: it tells them as events, and
/// these come to nobody who does not poll.
pub(crate) fn tell_why(consumer: &BaseConsumer) {
    const EVENTS: usize = 32;
    let events = std::iter::repeat_with(|| consumer.poll(Duration::ZERO));
    // Nothing is assigned: each is an error, and is logged on its way here.
    events.take(EVENTS).take_while(Option::is_some).for_each(drop);
}

fn isolated(config: &KafkaConfig, level: &str) -> Result<BaseConsumer, KafkaError> {
    config.client().set("isolation.level", level).create()
}

type Answer = Result<Arc<[((Stream, i32), i64)]>, WatermarkError>;

/// Asks for the end of a fixed set of partitions; callers that come together share one request.
#[derive(Clone)]
pub struct HighWatermarks {
    asks: mpsc::Sender<oneshot::Sender<Answer>>,
}

impl HighWatermarks {
    pub fn new(config: &KafkaConfig, partitions: Vec<(Stream, i32)>) -> Result<Self, KafkaError> {
        let consumer = client(config)?;
        let (asks, mut waiting) = mpsc::channel::<oneshot::Sender<Answer>>(WAITING);
        let topics = config.topics();
        let places: Vec<_> = partitions.iter().map(|&(s, p)| (topics.of(s), p)).collect();
        std::thread::Builder::new()
            .name("rolecall-watermarks".to_owned())
            .spawn(move || {
                while let Some(first) = waiting.blocking_recv() {
                    let mut askers = vec![first];
                    while let Ok(next) = waiting.try_recv() {
                        askers.push(next);
                    }
                    let answer: Answer = ends_in_the_end(&consumer, &places)
                        .map(|ends| partitions.iter().copied().zip(ends).collect());
                    for asker in askers {
                        // An asker that gave up meanwhile needs no answer.
                        asker.send(answer.clone()).unwrap_or(());
                    }
                }
            })
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { asks })
    }

    /// The end of every partition, asked for after this call began. While Kafka is away it takes up to 5 s to know that, and
    /// again as long where others asked before.
    pub async fn latest(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).map_err(|_| WatermarkError::Busy)?;
        answer.await.map_err(|_| WatermarkError::Busy)?
    }
}
