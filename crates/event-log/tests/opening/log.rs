//! A log on real servers, for tests.

use event_log::identity::LogIdentity;
use event_log::{CreateError, KafkaConfig, LogSpec, create_log};
use local_stack::Stack;
use schemas::{KeyEncryptionKey, Registry};

pub fn spec(ledgers: i32, groups: i32) -> LogSpec {
    LogSpec {
        ledgers,
        groups,
        replication: 1,
        index_key_id: "index/nfkc-lower-1".to_owned(),
        held: None,
    }
}

pub fn key(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::parse(&[byte; 32]).unwrap()
}

pub fn registry(stack: &Stack) -> Registry {
    Registry::new(&stack.registry_url(), reqwest::Client::builder()).unwrap()
}

pub async fn open(stack: &Stack, config: &KafkaConfig, spec: &LogSpec) -> Result<LogIdentity, CreateError> {
    create_log(config, spec, &key(7), &registry(stack)).await
}

pub async fn opened(stack: &Stack, config: &KafkaConfig, spec: &LogSpec) -> LogIdentity {
    loop {
        match open(stack, config, spec).await {
            Ok(identity) => return identity,
            Err(error) => assert!(!error.is_permanent(), "{error}"), // the topics are still being made
        }
    }
}
