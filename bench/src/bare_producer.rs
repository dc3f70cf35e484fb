//! The least a command could cost: one record in one transaction, its delivery awaited.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event_log::{KafkaConfig, Record, Tail, TailItem};
use local_stack::Stack;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use schemas::Stream;

use crate::seed::LEDGERS;

const TOPIC: &str = "bench.bare";
const LIMIT: Duration = Duration::from_secs(15);

/// A record of the log to be imitated: same key, value and headers.
#[derive(Clone)]
pub struct Sample {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: OwnedHeaders,
    header_bytes: usize,
}

impl Sample {
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + self.header_bytes
    }
}

/// The first grant that stands in the log.
pub async fn sample_grant(stack: &Stack, prefix: &str) -> Result<Sample> {
    let kafka = KafkaConfig::plain(stack.kafka_bootstrap(), prefix);
    let start: Vec<_> = (0..LEDGERS).map(|ledger| (Stream::Users, ledger, 0)).collect();
    let mut tail = Tail::open_with_headers(&kafka, &start)?;
    loop {
        for item in tail.next(1_000).await? {
            if let TailItem::Record(record) = item
                && record.event_type.name == "user.role_granted"
            {
                return Ok(sample(record));
            }
        }
    }
}

fn sample(record: Record) -> Sample {
    let header_bytes = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let headers = record
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        });
    Sample {
        key: record.key,
        value: record.value,
        headers,
        header_bytes,
    }
}

/// Filled by the producer's polling thread: whether the one record under way arrived.
#[derive(Default)]
struct Delivered {
    outcome: Mutex<Option<Result<(), KafkaError>>>,
    arrived: Condvar,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.arrived.notify_one();
    }
}

impl Delivered {
    fn wait(&self) -> Result<()> {
        let waiting = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .arrived
            .wait_timeout_while(waiting, LIMIT, |outcome| outcome.is_none());
        let (mut outcome, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(outcome.take().context("a record was not delivered in time")??)
    }
}

/// A transactional producer with the settings of Rolecall's own.
pub struct BareProducer {
    producer: ThreadedProducer<Delivered>,
    sample: Sample,
    next_partition: AtomicUsize,
}

impl BareProducer {
    pub async fn start(stack: &Stack, id: &str, sample: &Sample) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", stack.kafka_bootstrap())
            .set("socket.nagle.disable", "true");
        create_topic(&config).await?;
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", "10000")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0");
        let producer: ThreadedProducer<Delivered> = config.create_with_context(Delivered::default())?;
        tokio::task::block_in_place(|| producer.init_transactions(LIMIT))?;
        Ok(Self {
            producer,
            sample: sample.clone(),
            next_partition: AtomicUsize::new(0),
        })
    }

    /// Begins, sends one record, waits for its delivery, commits. Each goes to the next partition,
    /// as commands about different users do.
    pub fn commit_one(&self) -> Result<()> {
        let partitions = usize::try_from(LEDGERS)?;
        let partition = i32::try_from(self.next_partition.fetch_add(1, Ordering::Relaxed) % partitions)?;
        self.producer.begin_transaction()?;
        self.producer
            .send(
                BaseRecord::to(TOPIC)
                    .partition(partition)
                    .key(&self.sample.key)
                    .payload(&self.sample.value)
                    .headers(self.sample.headers.clone()),
            )
            .map_err(|(error, _)| error)?;
        self.producer.context().wait()?;
        // Committed while it is in flight, librdkafka's own flush would sleep for 100 ms.
        while self.producer.in_flight_count() > 0 {
            std::thread::yield_now();
        }
        self.producer.commit_transaction(LIMIT)?;
        Ok(())
    }
}

/// With the settings of the event topics.
async fn create_topic(config: &ClientConfig) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    // The brokers' own default, as for Rolecall's topics here: 1, or 3 of 3.
    let topic = NewTopic::new(TOPIC, LEDGERS, TopicReplication::Fixed(-1))
        .set("unclean.leader.election.enable", "false")
        .set("message.timestamp.type", "LogAppendTime")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1");
    let outcome = admin
        .create_topics(&[topic], &AdminOptions::new().operation_timeout(Some(LIMIT)))
        .await?;
    match outcome.into_iter().next().context("no answer about the topic")? {
        Ok(_) | Err((_, rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
        Err((topic, code)) => bail!("creating {topic}: {}", KafkaError::AdminOp(code)),
    }
}
