//! A topic that was deleted and made anew, or cut, is told from a new one: under a log that is opened
//! again and under owners that run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "opening/log.rs"]
mod log;

use std::sync::Arc;
use std::time::Duration;

use domain::catalog::{Catalog, CatalogCommand, RecordExtent};
use domain::user::{AbandonClaim, User, UserCommand};
use event_log::identity::{IdentityError, LogIdentity, find_log};
use event_log::{
    Bus, CommandContext, CreateError, Group, GroupSpec, GroupStatus, Halt, Instance, KafkaConfig,
    KafkaWriterLog, LogSpec, Owners, extent,
};
use local_stack::Stack;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schemas::{ClaimId, RequestId, Stream};

const LEDGERS: i32 = 2;

fn spec() -> LogSpec {
    log::spec(LEDGERS, 1)
}

struct Log<'a> {
    stack: &'a Stack,
    config: KafkaConfig,
}

impl Log<'_> {
    async fn open(&self) -> Result<LogIdentity, CreateError> {
        log::open(self.stack, &self.config, &spec()).await
    }

    /// A service starts: every ledger has its owner, every topic holds something, and the catalog
    /// knows how far that goes.
    async fn serve(&self) -> Bus {
        let identity = log::opened(self.stack, &self.config, &spec()).await;
        let bus = Bus::new(LEDGERS);
        let log = Arc::new(KafkaWriterLog::new(&self.config, identity.created.log_id).unwrap());
        let (ids, instance) = (Arc::new(identity.schema_ids), Instance::alone());
        for spec in [GroupSpec::of_ledgers(0, 1, LEDGERS), GroupSpec::catalog()] {
            let group = Group::start(
                Arc::clone(&log),
                &spec,
                Arc::clone(&ids),
                instance.clone(),
                Owners::default(),
            );
            bus.route(&spec.partitions, group);
        }
        bus.settled().await;
        bus.heartbeat();
        let ends = loop {
            let config = self.config.clone();
            let asked = tokio::task::spawn_blocking(move || extent(&config, LEDGERS));
            let ends = asked.await.unwrap().unwrap();
            if ends.iter().all(|end| end.next_offset > 0) {
                break ends;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let record = CatalogCommand::RecordExtent(RecordExtent { ends });
        bus.execute::<Catalog>("catalog", record, system()).await.unwrap();
        bus
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.stack.kafka_bootstrap())
            .create()
            .unwrap()
    }

    async fn make_anew(&self, topic: &str, partitions: i32) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        let deleted = admin.delete_topics(&[topic], &options).await.unwrap();
        deleted.into_iter().for_each(|it| drop(it.unwrap()));
        // The broker needs a moment to be done with the former one.
        loop {
            let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            let made = admin.create_topics([&wanted], &options).await.unwrap();
            if made.into_iter().all(|it| it.is_ok()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn cut(&self, topic: &str, before: i64) {
        let mut places = TopicPartitionList::new();
        places
            .add_partition_offset(topic, 0, Offset::Offset(before))
            .unwrap();
        // Kept until the answer is there: it brings it.
        let admin = self.admin();
        let cut = admin.delete_records(&places, &AdminOptions::new()).await;
        drop(cut.unwrap());
    }

    /// What the services that only read say, and the command service, of which each must be one line.
    async fn refusal(&self) -> String {
        let error = self.open().await.unwrap_err();
        assert!(error.is_permanent(), "{error:?}");
        let config = self.config.clone();
        let found = tokio::task::spawn_blocking(move || find_log(&config));
        let found: IdentityError = found.await.unwrap().unwrap_err();
        assert!(found.is_permanent(), "{found:?}");
        assert_eq!(found.to_string(), error.to_string());
        assert!(!error.to_string().contains('\n'), "{error}");
        error.to_string()
    }

    async fn ends(&self, topic: &str) -> Vec<i64> {
        let config = self.config.clone();
        let ends = tokio::task::spawn_blocking(move || extent(&config, LEDGERS));
        let ends = ends.await.unwrap().unwrap();
        let of_topic = ends.into_iter().filter(|end| end.topic == topic);
        of_topic.map(|end| end.next_offset).collect()
    }
}

fn system() -> CommandContext {
    CommandContext::system(RequestId::new_v7())
}

async fn each_topic_made_anew_is_refused_and_stays_empty(log: &Log<'_>) {
    log.serve().await.shut_down().await;
    log.open().await.unwrap();
    // The message names the first that is found: so the last one first.
    for topic in ["keys", "identifiers", "users"] {
        let name = format!("{}.{topic}", log.config.topic_prefix);
        log.make_anew(&name, LEDGERS).await;
        let message = log.refusal().await;
        assert!(message.contains(&name), "{message}");
        assert!(message.contains("ends at offset 0"), "{message}");
        assert!(message.contains("deleted, made anew or cut"), "{message}");
        assert_eq!(log.ends(topic).await, [0, 0]);
    }
}

async fn a_cut_topic_and_a_lost_catalog_are_refused(log: &Log<'_>) {
    log.serve().await.shut_down().await;
    let topics = log.config.topics();
    log.cut(&topics.of(Stream::Users), 1).await;
    let message = log.refusal().await;
    assert!(message.contains("begins at offset 1"), "{message}");
    log.cut(&topics.of(Stream::Catalog), 2).await;
    let message = log.refusal().await;
    assert!(message.contains("catalog-0 begins at offset 2"), "{message}");
    let before = log.ends("users").await;
    log.make_anew(&topics.of(Stream::Catalog), 1).await;
    let message = log.refusal().await;
    assert!(
        message.contains("the catalog was deleted or made anew"),
        "{message}"
    );
    assert_eq!(log.ends("users").await, before);
}

async fn a_running_owner_halts(log: &Log<'_>) {
    let bus = log.serve().await;
    let abandon = || {
        let claim_id = ClaimId::new_v7();
        let command = UserCommand::AbandonClaim(AbandonClaim { claim_id });
        bus.execute::<User>("somebody", command, system())
    };
    for _ in 0..3 {
        abandon().await.unwrap();
    }
    log.make_anew(&log.config.topics().of(Stream::Users), LEDGERS)
        .await;
    let halted = async {
        loop {
            let answered = abandon().await;
            assert!(answered.is_err(), "{answered:?}");
            let reasons = bus
                .not_serving()
                .into_iter()
                .filter_map(|(_, status)| match status {
                    GroupStatus::Halted(Halt::LogLost(reason)) => Some(reason),
                    _ => None,
                });
            if let Some(reason) = reasons.into_iter().next() {
                return reason;
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(120), halted)
        .await
        .unwrap();
    assert!(reason.contains("deleted, made anew or cut"), "{reason}");
    let message = log.refusal().await;
    assert!(message.contains("users"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_never_taken_for_new() {
    let stack = Stack::builder().redis(false).postgres_clusters(0);
    let stack = stack.start().await.unwrap();
    let log = |prefix: &str| Log {
        stack: &stack,
        config: KafkaConfig::plain(stack.kafka_bootstrap(), prefix),
    };
    each_topic_made_anew_is_refused_and_stays_empty(&log("anew")).await;
    a_cut_topic_and_a_lost_catalog_are_refused(&log("cut")).await;
    a_running_owner_halts(&log("running")).await;
    stack.shutdown().await.unwrap();
}
