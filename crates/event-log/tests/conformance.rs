//! What every log promises to those who write it: the same cases against Kafka and its twin in
//! memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "conformance/bulk.rs"]
mod bulk;
#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/failures.rs"]
mod failures;
#[path = "conformance/instances.rs"]
mod instances;
#[path = "conformance/keys.rs"]
mod keys;
#[path = "conformance/owner.rs"]
mod owner;
#[path = "conformance/snapshots.rs"]
mod snapshots;
#[path = "conformance/stalls.rs"]
mod stalls;
#[path = "conformance/store_cases.rs"]
mod store_cases;
#[path = "conformance/tail.rs"]
mod tail;
#[path = "conformance/together.rs"]
mod together;
#[path = "conformance/untrusted_snapshots.rs"]
mod untrusted_snapshots;

use std::sync::Arc;

use event_log::{KafkaConfig, KafkaWriterLog, MemoryLog};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use schemas::{LogId, Stream};

use crate::owner::LEDGERS;

/// Runs each case on a log of its own.
macro_rules! on_a_new_log {
    ($log:expr => $($case:ident),+ $(,)?) => {
        $(
            println!("{}", stringify!($case));
            let log = $log(stringify!($case)).await;
            $case(&log).await;
            owner::chain_is_whole(&log);
        )+
    };
}

macro_rules! conforms {
    ($log:expr) => {
        use bulk::*;
        use cases::*;
        use together::*;
        on_a_new_log!($log =>
            commands_are_recorded_in_order,
            a_new_owner_reads_everything_back,
            commands_on_one_aggregate_take_turns,
            an_idempotency_key_finds_its_events,
            a_replaced_owner_never_says_yes,
            a_replaced_owner_does_not_answer_from_memory,
            a_lone_owner_recovers_by_itself,
            of_two_owners_at_once_one_remains,
            what_is_given_up_is_refused_at_once,
            a_key_is_stored_with_the_first_event,
            many_commands_come_to_what_each_would,
            a_replaced_owner_says_yes_to_none_of_many,
            single_commands_and_many_share_the_writer,
            what_goes_together_is_committed_together,
            what_cannot_go_together_is_not_done,
            a_key_finds_what_was_done_together,
        )
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_memory_conforms() {
    conforms!(async |_: &str| Arc::new(MemoryLog::new(LogId::new_v7())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_kafka_conforms() {
    let stack = local_stack::Stack::builder()
        .registry(false)
        .redis(false)
        .postgres_clusters(0);
    let stack = stack.start().await.unwrap();
    let log = async |prefix: &str| {
        let config = created(&stack, prefix).await;
        Arc::new(KafkaWriterLog::new(&config, LogId::new_v7()).unwrap())
    };
    conforms!(log);
    for case in 0..3 {
        tail::a_paused_tail_misses_nothing(&created(&stack, &format!("tail-{case}")).await).await;
    }
    keys::a_key_ring_finds_keys_among_heartbeats(&created(&stack, "keys").await).await;
    stack.shutdown().await.unwrap();
}

/// A log's topics, empty.
async fn created(stack: &local_stack::Stack, prefix: &str) -> KafkaConfig {
    let config = KafkaConfig::plain(stack.kafka_bootstrap(), prefix);
    let mut client = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = client
        .set("bootstrap.servers", stack.kafka_bootstrap())
        .create()
        .unwrap();
    let topics = config.topics();
    let names = [
        topics.of(Stream::Users),
        topics.of(Stream::Identifiers),
        topics.keys(),
        topics.of(Stream::Catalog),
    ];
    let topic = |(index, name): (usize, &'static str)| {
        NewTopic::new(
            name,
            if index == 3 { 1 } else { LEDGERS },
            TopicReplication::Fixed(1),
        )
    };
    let names = names.map(|name| -> &'static str { name.leak() });
    let wanted: Vec<NewTopic<'_>> = names.into_iter().enumerate().map(topic).collect();
    let outcomes = admin.create_topics(&wanted, &AdminOptions::new()).await.unwrap();
    outcomes.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    config
}
