//! One real stack: every server answers, survives `kill -9`, and is gone at the end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::time::Duration;

use local_stack::{Launch, Server, Stack};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::{Connection, PgConnection};

const TOPIC: &str = "survivors";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stack_answers_survives_kills_and_leaves_nothing_behind() {
    leader_hints::ignore();
    let stack = Stack::builder().shards(16).start().await.unwrap();
    eprintln!("{:?}", stack.start_times());
    let data = stack.data_dir().to_owned();
    assert_eq!(stack.servers().count(), 4);

    write_to_kafka(&stack.kafka_bootstrap()).await;
    write_to_each_shard(&stack.shard_dsns()).await;
    for server in stack.servers() {
        let before = server.pid().unwrap();
        server.kill().await.unwrap();
        assert!(!server.is_ready().await, "{server:?}");
        server.restart().await.unwrap();
        assert!(
            server.is_ready().await && server.pid() != Some(before),
            "{server:?}"
        );
    }
    assert_eq!(records_in_kafka(&stack.kafka_bootstrap()).await, 1);
    assert_each_shard_has_its_row(&stack.shard_dsns()).await;

    stack.redis().pause().unwrap();
    assert!(!stack.redis().is_ready().await);
    stack.redis().resume().unwrap();
    assert!(stack.redis().is_ready().await);

    let own = own_service(&stack).await;
    let pids: Vec<u32> = stack
        .servers()
        .chain([&own])
        .map(|server| server.pid().unwrap())
        .collect();
    stack.shutdown().await.unwrap();
    drop(own); // not stopped: dropping kills it
    for pid in pids {
        assert!(
            !Path::new(&format!("/proc/{pid}")).exists(),
            "process {pid} is left"
        );
    }
    assert!(!data.exists());
}

#[tokio::test]
async fn settings_out_of_range_are_refused_before_anything_starts() {
    let error = Stack::builder().kafka_nodes(2).start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the number of Kafka nodes must be 0, 1 or 3, not 2"
    );
}

/// Stands for one of our services: ready when an address answers.
async fn own_service(stack: &Stack) -> Server {
    let launch = Launch::new("own", "/bin/sleep", stack.log_of("own")).arg("1000");
    Server::start(launch.ready_at(format!("{}/subjects", stack.registry_url())))
        .await
        .unwrap()
}

fn kafka_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all");
    config
}

async fn write_to_kafka(bootstrap: &str) {
    let admin: AdminClient<DefaultClientContext> = kafka_config(bootstrap).create().unwrap();
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(-1));
    for result in admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap() {
        result.unwrap();
    }
    let producer: FutureProducer = kafka_config(bootstrap).create().unwrap();
    let record = FutureRecord::<str, str>::to(TOPIC).payload("still here");
    producer.send(record, PATIENCE).await.unwrap();
}

async fn records_in_kafka(bootstrap: &str) -> i64 {
    let consumer: BaseConsumer = kafka_config(bootstrap).create().unwrap();
    tokio::task::spawn_blocking(move || consumer.fetch_watermarks(TOPIC, 0, PATIENCE).unwrap().1)
        .await
        .unwrap()
}

async fn write_to_each_shard(dsns: &[String]) {
    for dsn in dsns {
        let mut connection = PgConnection::connect(dsn).await.unwrap();
        sqlx::query("CREATE TABLE survivors AS SELECT 1 AS id")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

async fn assert_each_shard_has_its_row(dsns: &[String]) {
    for dsn in dsns {
        let mut connection = PgConnection::connect(dsn).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM survivors")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(rows, 1);
    }
}
