//! A group's history is read in pieces, and not waited for where nobody ends a transaction.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "opening/log.rs"]
mod log;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use domain::user::{AbandonClaim, User, UserCommand};
use event_log::identity::LogIdentity;
use event_log::{
    Bus, CommandContext, Group, GroupSpec, Instance, KafkaConfig, KafkaWriterLog, Owners, RangeReader,
    WriterLog,
};
use local_stack::Stack;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::{ClaimId, RequestId, Stream};

const LEDGERS: i32 = 2;
const PREFIX: &str = "reading";
/// More than anything here takes, and less than a transaction may stay open.
const LONG: Duration = Duration::from_secs(120);
const OPEN: Duration = Duration::from_secs(600);

struct World {
    config: KafkaConfig,
    identity: LogIdentity,
    log: Arc<KafkaWriterLog>,
}

impl World {
    async fn open(stack: &Stack) -> Self {
        let config = KafkaConfig::plain(stack.kafka_bootstrap(), PREFIX);
        let identity = log::opened(stack, &config, &log::spec(LEDGERS, 1)).await;
        let log = Arc::new(KafkaWriterLog::new(&config, identity.created.log_id).unwrap());
        Self {
            config,
            identity,
            log,
        }
    }

    async fn serve(&self) -> Bus {
        let (bus, spec) = (Bus::new(LEDGERS), GroupSpec::of_ledgers(0, 1, LEDGERS));
        let group = Group::start(
            Arc::clone(&self.log),
            &spec,
            Arc::new(self.identity.schema_ids.clone()),
            Instance::alone(),
            Owners::default(),
        );
        bus.route(&spec.partitions, group);
        tokio::time::timeout(LONG, bus.settled()).await.unwrap();
        assert_eq!(bus.serving().len(), spec.partitions.len());
        bus
    }

    fn ends(&self) -> Vec<i64> {
        self.log.high_watermarks(&users()).unwrap()
    }

    /// What stands in the users' partitions behind these offsets, and moves them on.
    fn read(&self, reader: &mut RangeReader, from: &mut [i64], until: &[i64]) -> Vec<(i32, i64)> {
        let bounds = from.iter().zip(until);
        let range: Vec<_> = users()
            .into_iter()
            .zip(bounds)
            .map(|((stream, partition), (&from, &until))| (stream, partition, from, until))
            .collect();
        let mut read = Vec::new();
        let mut each = |record: event_log::Record| {
            read.push((record.partition, record.offset));
            ControlFlow::Continue(())
        };
        self.log.read(reader, &range, &mut each).unwrap();
        for &(partition, offset) in &read {
            from[usize::try_from(partition).unwrap()] = offset + 1;
        }
        read.sort_unstable();
        read
    }
}

fn users() -> Vec<(Stream, i32)> {
    (0..LEDGERS).map(|ledger| (Stream::Users, ledger)).collect()
}

async fn write(bus: &Bus, records: usize) {
    for number in 0..records {
        let claim_id = ClaimId::new_v7();
        let command = UserCommand::AbandonClaim(AbandonClaim { claim_id });
        let context = CommandContext::system(RequestId::new_v7());
        let id = format!("somebody-{number}");
        bus.execute::<User>(&id, command, context).await.unwrap();
    }
}

async fn a_reader_goes_on_where_it_stopped(world: &World) {
    let bus = world.serve().await;
    write(&bus, 5).await;
    let first = world.ends();
    // It fetches what is behind its range, too.
    write(&bus, 30).await;
    let second = world.ends();
    let (mut reader, mut from) = (RangeReader::default(), vec![0; users().len()]);
    let mut read = world.read(&mut reader, &mut from, &first);
    assert!(
        read.iter()
            .all(|&(p, offset)| offset < first[usize::try_from(p).unwrap()])
    );
    read.extend(world.read(&mut reader, &mut from, &second));
    assert_eq!(world.read(&mut reader, &mut from, &second), []);
    write(&bus, 30).await;
    let third = world.ends();
    read.extend(world.read(&mut reader, &mut from, &third));
    // Another range than the one behind what was read.
    let mut again = from.clone();
    again.fill(0);
    let whole = world.read(&mut reader, &mut again, &third);
    read.sort_unstable();
    assert_eq!(read, whole);
    bus.shut_down().await;
}

/// As one that was killed leaves it: until the broker times it out, nobody can read what is behind.
async fn a_dead_owners_open_transaction_is_not_waited_for(world: &World) {
    let dead: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &world.config.bootstrap)
        .set("transactional.id", format!("{PREFIX}-writer-0"))
        .set("transaction.timeout.ms", OPEN.as_millis().to_string())
        .create()
        .unwrap();
    dead.init_transactions(LONG).unwrap();
    dead.begin_transaction().unwrap();
    for (stream, partition) in users() {
        let topic = world.config.topics().of(stream);
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition);
        dead.send(record.key(b"somebody").payload(b"half")).unwrap();
    }
    dead.flush(LONG).unwrap();
    let (stable, ends) = (world.log.stable_ends(&users()).unwrap(), world.ends());
    assert!(stable.iter().zip(&ends).all(|(stable, end)| stable < end));
    let bus = world.serve().await;
    write(&bus, 5).await;
    bus.shut_down().await;
    drop(dead);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_is_read_at_once() {
    let stack = Stack::builder().redis(false).postgres_clusters(0);
    let stack = stack.start().await.unwrap();
    let world = World::open(&stack).await;
    a_reader_goes_on_where_it_stopped(&world).await;
    a_dead_owners_open_transaction_is_not_waited_for(&world).await;
    stack.shutdown().await.unwrap();
}
