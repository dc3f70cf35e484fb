//! `replay verify` on a real Kafka: its exit codes where the catalog was tampered with.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use clap::Parser as _;
use local_stack::Stack;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use replay::cli::Cli;
use replay::{Error, Outcome};
use schemas::Stream;
use support::{Log, alter_creation};

const PATIENCE: Duration = Duration::from_secs(30);

struct Kafka {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    producer: FutureProducer,
}

impl Kafka {
    fn at(bootstrap: String) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap).set("acks", "all");
        Self {
            admin: config.create().unwrap(),
            producer: config.create().unwrap(),
            bootstrap,
        }
    }

    async fn make_topics(&self, names: &[String]) {
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)))
            .collect();
        let made = self.admin.create_topics(&topics, &AdminOptions::new()).await;
        for result in made.unwrap() {
            result.unwrap();
        }
    }

    /// Writes the records of the log into topics of their own.
    async fn write(&self, log: &Log) {
        let keys = log.topics.keys();
        let topics = Stream::ALL
            .map(|stream| log.topics.of(stream))
            .into_iter()
            .chain([keys]);
        self.make_topics(&topics.collect::<Vec<_>>()).await;
        for record in &log.records {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| {
                    let value = Some(value);
                    all.insert(Header { key, value })
                });
            let topic = log.topics.of(record.stream);
            let sent = FutureRecord::to(&topic)
                .partition(record.partition)
                .key(&record.key)
                .payload(&record.value)
                .headers(headers);
            self.producer.send(sent, PATIENCE).await.unwrap();
        }
    }

    async fn delete(&self, topic: &str) {
        let gone = self.admin.delete_topics(&[topic], &AdminOptions::new()).await;
        gone.unwrap()
            .into_iter()
            .for_each(|it| assert!(it.is_ok(), "{it:?}"));
        // The controller answers; the broker hears of it a moment later.
        let client = self.admin.inner();
        while client.fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0]
            .error()
            .is_none()
        {
            tokio::task::yield_now().await;
        }
    }

    async fn verify(&self, prefix: &str) -> Result<Outcome, Error> {
        let arguments = [
            "replay",
            "verify",
            "--kafka",
            &self.bootstrap,
            "--topic-prefix",
            prefix,
            "--kafka-security",
            "plaintext",
            "--plaintext",
            "allowed",
        ];
        replay::run(Cli::parse_from(arguments)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_with_the_catalog_gets_an_answer() {
    let builder = Stack::builder().postgres_clusters(0).registry(false).redis(false);
    let stack = builder.start().await.unwrap();
    let kafka = Kafka::at(stack.kafka_bootstrap());

    let none = kafka.verify("none").await;
    assert!(matches!(none, Err(Error::NoLog { .. })), "{none:?}");

    let whole = Log::whole("whole");
    kafka.write(&whole).await;
    assert_eq!(kafka.verify("whole").await.unwrap(), Outcome::Good);

    let mut forged = Log::whole("forged");
    alter_creation(&mut forged.records[0], |it| {
        it.ledger_function = "other".to_owned();
    });
    kafka.write(&forged).await;
    assert_eq!(kafka.verify("forged").await.unwrap(), Outcome::Bad);

    let mut emptied = Log::whole("emptied");
    emptied.records.retain(|it| it.stream != Stream::Catalog);
    kafka.write(&emptied).await;
    assert_eq!(kafka.verify("emptied").await.unwrap(), Outcome::Bad);

    kafka.delete(&whole.topics.of(Stream::Catalog)).await;
    assert_eq!(kafka.verify("whole").await.unwrap(), Outcome::Bad);

    stack.shutdown().await.unwrap();
}
