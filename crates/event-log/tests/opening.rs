//! Opening a log: what does not fit is refused with one line that names the cause, and nothing is touched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "opening/log.rs"]
#[expect(dead_code, reason = "shared with tests that open with one key")]
mod log;

use event_log::identity::{IdentityError, find_log};
use event_log::{CreateError, KafkaConfig, LogSpec, create_log};
use local_stack::Stack;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use schemas::{KeyEncryptionKey, RegistryError};
use serde_json::json;

use crate::log::key;

fn spec() -> LogSpec {
    log::spec(4, 2)
}

async fn open(
    stack: &Stack,
    config: &KafkaConfig,
    spec: LogSpec,
    key: KeyEncryptionKey,
) -> Result<(), CreateError> {
    create_log(config, &spec, &key, &log::registry(stack))
        .await
        .map(drop)
}

/// The message, which must be one line and final.
fn refusal(outcome: Result<(), CreateError>) -> String {
    let error = outcome.unwrap_err();
    assert!(error.is_permanent(), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

async fn another_configuration_is_refused(stack: &Stack, config: &KafkaConfig) {
    let fitting = find(config).await;
    let of_index = LogSpec {
        index_key_id: "other/nfkc-lower-1".to_owned(),
        ..spec()
    };
    let of_ledgers = LogSpec { ledgers: 8, ..spec() };
    let wrong_key = refusal(open(stack, config, spec(), key(8)).await);
    assert!(wrong_key.contains("key-encryption key"), "{wrong_key}");
    let wrong_index = refusal(open(stack, config, of_index, key(7)).await);
    assert!(wrong_index.contains("index key"), "{wrong_index}");
    let wrong_ledgers = refusal(open(stack, config, of_ledgers, key(7)).await);
    assert!(wrong_ledgers.contains("4 ledgers"), "{wrong_ledgers}");
    assert_eq!(find(config).await, fitting);
    open(stack, config, spec(), key(7)).await.unwrap();
}

async fn find(config: &KafkaConfig) -> event_log::identity::LogIdentity {
    let config = config.clone();
    let found = tokio::task::spawn_blocking(move || find_log(&config));
    found.await.unwrap().unwrap().unwrap()
}

async fn an_added_partition_is_refused(stack: &Stack, config: &KafkaConfig) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", stack.kafka_bootstrap())
        .create()
        .unwrap();
    let topic = config.topics().of(schemas::Stream::Users);
    admin
        .create_partitions([&NewPartitions::new(&topic, 5)], &AdminOptions::new())
        .await
        .unwrap();
    let found = loop {
        let config = config.clone();
        match tokio::task::spawn_blocking(move || find_log(&config))
            .await
            .unwrap()
        {
            // The broker tells of the new partition a moment later.
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            found,
            IdentityError::Partitions {
                found: 5,
                expected: 4,
                ..
            }
        ),
        "{found}"
    );
    let message = refusal(open(stack, config, spec(), key(7)).await);
    assert!(message.contains("5 partitions"), "{message}");
}

async fn an_incompatible_schema_is_refused(stack: &Stack) {
    let config = KafkaConfig::plain(stack.kafka_bootstrap(), "foreign");
    let subject = "foreign.users-rolecall.user.registered";
    let foreign = json!({
        "type": "record", "name": "registered", "namespace": "rolecall.user",
        "fields": [{ "name": "somebody_elses", "type": "string" }],
    });
    let body = json!({ "schema": foreign.to_string(), "schemaType": "AVRO" });
    let url = format!("{}/subjects/{subject}/versions", stack.registry_url());
    let registered = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert!(
        registered.status().is_success(),
        "{}",
        registered.text().await.unwrap()
    );
    let outcome = open(stack, &config, spec(), key(7)).await;
    assert!(
        matches!(
            outcome,
            Err(CreateError::Registry(RegistryError::Incompatible { .. }))
        ),
        "{outcome:?}"
    );
    let message = refusal(outcome);
    assert!(
        message.contains(subject) && message.contains("version 1"),
        "{message}"
    );
    let looked = tokio::task::spawn_blocking(move || find_log(&config));
    assert!(looked.await.unwrap().unwrap().is_none(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    let stack = Stack::builder().redis(false).postgres_clusters(0);
    let stack = stack.start().await.unwrap();
    let config = KafkaConfig::plain(stack.kafka_bootstrap(), "opened");
    while let Err(error) = open(&stack, &config, spec(), key(7)).await {
        assert!(!error.is_permanent(), "{error}"); // the topics are still being made
    }
    another_configuration_is_refused(&stack, &config).await;
    an_incompatible_schema_is_refused(&stack).await;
    an_added_partition_is_refused(&stack, &config).await;
    stack.shutdown().await.unwrap();
}
