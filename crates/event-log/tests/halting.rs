//! A group that cannot be served in one instance is served by another, and the first one says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "opening/log.rs"]
mod log;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use event_log::identity::LogIdentity;
use event_log::{
    Bus, Forward, ForwardError, GroupStatus, Halt, Instance, KafkaConfig, KafkaWriterLog, Owners, Ownership,
    RangeReader, Record, WriterLog, WriterLogError, decode,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use local_stack::Stack;
use schemas::log::LogEvent;
use schemas::{Event, LogId, Position, Stream};

const LEDGERS: i32 = 6;
const BROKEN: (Stream, i32) = (Stream::Users, 2);
const LONG: Duration = Duration::from_secs(120);

/// A log that reads nonsense in one partition, or none.
struct PartlyUnreadable {
    log: KafkaWriterLog,
    broken: Option<(Stream, i32)>,
}

impl WriterLog for PartlyUnreadable {
    type Transaction = <KafkaWriterLog as WriterLog>::Transaction;
    type Reader = <KafkaWriterLog as WriterLog>::Reader;

    fn claim(&self, id: &str, ready: &mut dyn FnMut()) -> Result<Self::Transaction, WriterLogError> {
        self.log.claim(id, ready)
    }

    fn read(
        &self,
        reader: &mut Self::Reader,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        let broken = range.iter().find(|&&(s, p, ..)| Some((s, p)) == self.broken);
        match broken {
            Some(&(stream, partition, offset, _)) => Err(WriterLogError::BrokenChain {
                stream,
                partition,
                offset,
            }),
            None => self.log.read(reader, range, each),
        }
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.log.high_watermarks(partitions)
    }

    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.log.stable_ends(partitions)
    }

    fn topic(&self, stream: Stream) -> String {
        self.log.topic(stream)
    }

    fn log_id(&self) -> LogId {
        self.log.log_id()
    }
}

struct NoRoad;

impl Forward for NoRoad {
    fn forward<'a>(
        &'a self,
        _: &'a Instance,
        _: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, ForwardError>> {
        async { Err(ForwardError::NotSent("there is no way".to_owned())) }.boxed()
    }
}

struct Member {
    bus: Bus,
    owners: Owners,
    log: Arc<PartlyUnreadable>,
    ownership: Ownership,
}

impl Member {
    fn start(config: &KafkaConfig, identity: &LogIdentity, broken: Option<(Stream, i32)>) -> Self {
        let log = KafkaWriterLog::new(config, identity.created.log_id).unwrap();
        let log = Arc::new(PartlyUnreadable { log, broken });
        let (owners, own) = (
            Owners::default(),
            Instance {
                address: format!("http://{broken:?}"),
                ..Instance::alone()
            },
        );
        let bus = Bus::among(LEDGERS, own.clone(), owners.clone(), NoRoad);
        let ownership = Ownership::start(
            config,
            Arc::clone(&log),
            identity,
            &bus,
            own,
            owners.clone(),
            None,
        );
        Self {
            bus,
            owners,
            log,
            ownership: ownership.unwrap(),
        }
    }

    /// Users' ledgers that it serves, as far as the log tells: a heartbeat finds out who was replaced.
    fn ledgers(&self) -> usize {
        self.bus.heartbeat();
        let serving = self.bus.serving();
        serving
            .iter()
            .filter(|(stream, _)| *stream == Stream::Users)
            .count()
    }

    fn says_why(&self) -> bool {
        let is_why = |status: &GroupStatus| matches!(status, GroupStatus::Halted(Halt::Unreadable(_)));
        let not_serving = self.bus.not_serving();
        not_serving
            .iter()
            .any(|(place, status)| *place == BROKEN && is_why(status))
    }

    /// As the tail does it in production.
    fn learn(&self, identity: &LogIdentity, claims_in: &PartlyUnreadable) {
        for partition in 0..LEDGERS {
            let place = (Stream::Users, partition);
            let end = claims_in.high_watermarks(&[place]).unwrap()[0];
            let mut each = |record: Record| {
                if let Event::Log(LogEvent::LedgerClaimed(claim)) =
                    decode(&record, &identity.schema_ids).unwrap().data
                {
                    let (stream, offset) = (record.stream, record.offset);
                    self.owners.learn(
                        Position {
                            stream,
                            partition,
                            offset,
                        },
                        &claim,
                    );
                }
                ControlFlow::Continue(())
            };
            claims_in
                .read(
                    &mut RangeReader::default(),
                    &[(place.0, place.1, 0, end)],
                    &mut each,
                )
                .unwrap();
        }
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(LONG, waiting).await.is_ok(),
        "not in time: {what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_halts_in_one_instance_is_served_by_another() {
    let stack = Stack::builder().redis(false).postgres_clusters(0);
    let stack = stack.start().await.unwrap();
    let config = KafkaConfig::plain(stack.kafka_bootstrap(), "halting");
    let identity = log::opened(&stack, &config, &log::spec(LEDGERS, LEDGERS)).await;
    let all = usize::try_from(LEDGERS).unwrap();

    // Alone, it serves what it can.
    let first = Member::start(&config, &identity, Some(BROKEN));
    until("the first serves the rest", || {
        first.ledgers() == all - 1 && first.says_why()
    })
    .await;
    let second = Member::start(&config, &identity, None);
    until("the second serves everything", || second.ledgers() == all).await;
    until("the first knows", || first.ledgers() == 0).await;
    assert!(first.says_why());

    // It learns that there is a new owner, comes back for a share, and still says what it cannot serve.
    first.learn(&identity, &second.log);
    until("the first serves again", || {
        first.ledgers() > 0 && second.ledgers() < all
    })
    .await;
    assert!(first.says_why());
    assert!(second.bus.serving().contains(&BROKEN));

    drop((first.ownership, second.ownership));
    stack.shutdown().await.unwrap();
}
