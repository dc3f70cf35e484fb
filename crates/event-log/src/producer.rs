//! The transactional producer of a writer group.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};
use schemas::{LogId, Stream, Timestamp};

use crate::config::KafkaConfig;
use crate::polled_producer::PolledProducer;
use crate::range_reader::RangeReader;
use crate::record::Record;
use crate::topics::Topics;
use crate::watermarks;
use crate::writer_log::{
    CommitError, Committed, Outgoing, Target, WriterLog, WriterLogError, WriterTransaction,
};

const INIT: Duration = Duration::from_secs(15);
/// While the former owner's transaction is aborted, which takes milliseconds, the broker wants to be asked again, and
/// librdkafka does so only after half a second. A new client asks at once. Each is given twice the time of the one
/// before: one that is let go while its question is under way may fence its successor.
const ASK_ANEW: Duration = Duration::from_millis(100);
/// Only spares time later.
const METADATA: Duration = Duration::from_millis(500);
const DELIVERY: Duration = Duration::from_secs(9);
const COMMIT: Duration = Duration::from_secs(5);

/// The log on Kafka, as its writers need it.
pub struct KafkaWriterLog {
    config: KafkaConfig,
    log_id: LogId,
    watermarks: BaseConsumer,
    stable: BaseConsumer,
}

impl KafkaWriterLog {
    pub fn new(config: &KafkaConfig, log_id: LogId) -> Result<Self, KafkaError> {
        Ok(Self {
            config: config.clone(),
            log_id,
            watermarks: watermarks::client(config)?,
            stable: watermarks::stable_client(config)?,
        })
    }
}

impl WriterLog for KafkaWriterLog {
    type Transaction = KafkaTransaction;
    type Reader = RangeReader;

    fn claim(
        &self,
        transactional_id: &str,
        ready: &mut dyn FnMut(),
    ) -> Result<KafkaTransaction, WriterLogError> {
        let id = format!("{}-{transactional_id}", self.config.topic_prefix);
        KafkaTransaction::init(&self.config, &id, ready).map_err(WriterLogError::Kafka)
    }

    fn read(
        &self,
        reader: &mut RangeReader,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        reader.read(&self.config, range, each)
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        Ok(watermarks::query(&self.watermarks, &self.config, partitions)?)
    }

    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        Ok(watermarks::query(&self.stable, &self.config, partitions)?)
    }

    fn topic(&self, stream: Stream) -> String {
        self.config.topics().of(stream)
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }
}

/// Filled by the producer's polling thread, awaited by the writer's.
#[derive(Default)]
struct Deliveries {
    done: Mutex<Vec<(usize, Result<i64, KafkaError>)>>,
    more: Condvar,
    /// The broker's time stamp of the last record, in milliseconds since 1970; 0: none yet.
    stamp_ms: AtomicI64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let outcome = match result {
            Ok(message) => {
                if let rdkafka::Timestamp::LogAppendTime(stamp) = message.timestamp() {
                    self.stamp_ms.store(stamp, Ordering::Relaxed);
                }
                Ok(message.offset())
            }
            Err((error, _)) => Err(error.clone()),
        };
        self.done.lock().push((index, outcome));
        self.more.notify_one();
    }
}

/// A producer that knows the leaders of all it will write to, and is connected to them: the first transaction would take
/// 150 ms longer otherwise.
fn connected(
    config: &KafkaConfig,
    id: &str,
    topics: &Topics,
) -> Result<BaseProducer<Deliveries>, KafkaError> {
    let producer: BaseProducer<_> = config.writer(id).create_with_context(Deliveries::default())?;
    let streams = [Stream::Users, Stream::Identifiers, Stream::Catalog];
    for topic in streams.map(|it| topics.of(it)).iter().chain([&topics.keys()]) {
        if let Err(error) = producer.client().fetch_metadata(Some(topic), METADATA) {
            tracing::debug!("Asking for the leaders of {topic}: {error}");
            break;
        }
    }
    Ok(producer)
}

/// One claimed transactional id.
pub struct KafkaTransaction {
    producer: PolledProducer<Deliveries>,
    topics: Topics,
}

impl KafkaTransaction {
    fn init(config: &KafkaConfig, id: &str, ready: &mut dyn FnMut()) -> Result<Self, KafkaError> {
        let (mut patience, topics) = (ASK_ANEW, config.topics());
        let mut producer = connected(config, id, &topics)?;
        ready();
        let deadline = Instant::now() + INIT;
        loop {
            match producer.init_transactions(patience) {
                Ok(()) => break,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
            patience = (patience * 2).min(deadline.saturating_duration_since(Instant::now()));
            // The former must be gone before: it would go on asking.
            drop(producer);
            producer = connected(config, id, &topics)?;
        }
        Ok(Self {
            producer: PolledProducer::start(producer)?,
            topics,
        })
    }

    fn send(&self, records: &[Outgoing]) -> Result<(), KafkaError> {
        for (index, record) in records.iter().enumerate() {
            let (topic, partition) = match record.target {
                Target::Event(stream, partition) => (self.topics.of(stream), partition),
                Target::Key(partition) => (self.topics.keys(), partition),
            };
            let headers = record.headers.iter().fold(
                OwnedHeaders::new_with_capacity(record.headers.len()),
                |headers, (key, value)| {
                    headers.insert(Header {
                        key,
                        value: Some(&**value),
                    })
                },
            );
            self.producer
                .send(
                    BaseRecord::with_opaque_to(&topic, index)
                        .partition(partition)
                        .key(&record.key)
                        .payload(&record.value)
                        .headers(headers),
                )
                .map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Waits for every delivery. Committing earlier would make librdkafka's own flush sleep 100 ms.
    fn await_deliveries(&self, count: usize) -> Result<Vec<i64>, KafkaError> {
        let deadline = Instant::now() + DELIVERY;
        let late = || KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let deliveries = self.producer.context();
        let mut offsets = vec![-1; count];
        let mut missing = count;
        let mut done = deliveries.done.lock();
        while missing > 0 {
            for (index, outcome) in done.drain(..) {
                if let Some(slot) = offsets.get_mut(index) {
                    *slot = outcome?;
                    missing = missing.saturating_sub(1);
                }
            }
            if missing > 0 && deliveries.more.wait_until(&mut done, deadline).timed_out() {
                return Err(late());
            }
        }
        drop(done);
        // The last report was handled a moment ago, and its message is about to be let go.
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > deadline {
                return Err(late());
            }
            std::thread::yield_now();
        }
        Ok(offsets)
    }

    /// The broker stamped the last record at some moment between these two.
    fn clock_ahead_ms(&self, sent: Timestamp, delivered: Timestamp) -> i64 {
        match self.producer.context().stamp_ms.load(Ordering::Relaxed) {
            0 => 0,
            stamp => clock_ahead_ms(sent.as_millis(), stamp, delivered.as_millis()),
        }
    }

    fn end(&self) -> Result<(), KafkaError> {
        let deadline = Instant::now() + COMMIT * 2;
        loop {
            match self.producer.commit_transaction(COMMIT) {
                // Asking again is the only safe step while librdkafka says it may still succeed.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                outcome => return outcome,
            }
        }
    }
}

impl WriterTransaction for KafkaTransaction {
    fn commit(&mut self, records: &[Outgoing]) -> Result<Committed, CommitError> {
        // What an earlier failure left behind belongs to no record of this batch.
        self.producer.context().done.lock().clear();
        self.producer.context().stamp_ms.store(0, Ordering::Relaxed);
        let outcome = self.producer.begin_transaction().and_then(|()| {
            let sent = Timestamp::now();
            self.send(records)?;
            let offsets = self.await_deliveries(records.len())?;
            let clock_ahead_ms = self.clock_ahead_ms(sent, Timestamp::now());
            self.end()?;
            Ok(Committed {
                offsets,
                clock_ahead_ms,
            })
        });
        outcome.map_err(|error| match unclear(&error) {
            CommitError::Fenced => CommitError::Fenced,
            error @ CommitError::Unclear(_) => self.abort().unwrap_or(error),
        })
    }
}

impl KafkaTransaction {
    /// An open transaction holds up every reader of its partitions until it times out. Whether it can be aborted also
    /// tells of a fencing that the first failure did not name, such as records that were purged.
    fn abort(&self) -> Option<CommitError> {
        let error = self.producer.abort_transaction(COMMIT).err()?;
        tracing::debug!(%error, "The transaction could not be aborted; the next claim settles it");
        let fatal = self.producer.client().fatal_error();
        let is_fenced = fatal.is_some_and(|(code, _)| is_fencing(code));
        (is_fenced || error.rdkafka_error_code().is_some_and(is_fencing)).then_some(CommitError::Fenced)
    }
}

/// The least difference of the clocks that puts `stamp` between `sent` and `delivered`.
fn clock_ahead_ms(sent: i64, stamp: i64, delivered: i64) -> i64 {
    (sent - stamp).max(0) + (delivered - stamp).min(0)
}

/// Whatever went wrong, the group settles it by reading; only being fenced is told apart.
fn unclear(error: &KafkaError) -> CommitError {
    match error.rdkafka_error_code() {
        Some(code) if is_fencing(code) => CommitError::Fenced,
        _ => CommitError::Unclear(error.to_string()),
    }
}

fn is_fencing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_way_cannot_explain_is_a_difference_of_clocks() {
        assert_eq!(clock_ahead_ms(1_000, 1_000, 1_000), 0);
        assert_eq!(clock_ahead_ms(1_000, 1_400, 6_000), 0);
        assert_eq!(clock_ahead_ms(5_000, 3_000, 5_100), 2_000);
        assert_eq!(clock_ahead_ms(5_000, 7_000, 5_100), -1_900);
    }
}
