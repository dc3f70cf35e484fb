//! Which keys are still found in the keys topic, read from its beginning as anybody with its files could.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use schemas::key::{KEY_STORED, KeyStored};
use schemas::{UserId, WrappedKey, decode_body, unframe};

use crate::config::KafkaConfig;
use crate::consumer::Reader;
use crate::key_ring::{BEGINNING, KeyRingError};
use crate::native::{Headers, Polled};
use crate::topics::HEARTBEAT_KEY;
use crate::watermarks;

const POLL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Of these users, those whose key has a record in the partition, with the key. A record that a marker
/// has overwritten is still one, until the broker has compacted its segment away.
pub async fn stored_keys(
    config: &KafkaConfig,
    partition: i32,
    users: HashSet<UserId>,
) -> Result<HashMap<UserId, WrappedKey>, KeyRingError> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || read(&config, partition, &users))
        .await
        .map_err(|error| KeyRingError::Kafka(error.to_string()))?
}

fn read(
    config: &KafkaConfig,
    partition: i32,
    users: &HashSet<UserId>,
) -> Result<HashMap<UserId, WrappedKey>, KeyRingError> {
    let topic = config.topics().keys();
    let asking: BaseConsumer = watermarks::client(config)?;
    let ends = watermarks::ends(&asking, &[(topic.clone(), partition)])?;
    let end = ends.first().copied().unwrap_or(0);
    let mut reader = Reader::open(
        config,
        &[(topic, partition, BEGINNING)],
        Headers::Only(c"content-type"),
    )?;
    let mut found = HashMap::new();
    let deadline = Instant::now() + TIMEOUT;
    let mut next = 0;
    while next < end {
        if Instant::now() > deadline {
            return Err(KeyRingError::Kafka(
                "the keys topic was not read in time".to_owned(),
            ));
        }
        for item in reader.poll(POLL) {
            match item {
                Polled::Message(message) => {
                    next = next.max(message.offset + 1);
                    if message.key == HEARTBEAT_KEY {
                        continue;
                    }
                    let fault = |error: schemas::CodecError| KeyRingError::Kafka(error.to_string());
                    let (_, body) = unframe(&message.value).map_err(fault)?;
                    let stored: KeyStored = decode_body(&KEY_STORED, body).map_err(fault)?;
                    if let Some(wrapped) = stored.wrapped
                        && users.contains(&stored.user_id)
                    {
                        found.insert(stored.user_id, wrapped);
                    }
                }
                Polled::End { offset, .. } => next = next.max(offset),
                Polled::Error { code, .. } if crate::tail::is_permanent(code) => {
                    return Err(KeyRingError::Kafka(code.to_string()));
                }
                Polled::Error { .. } => {}
            }
        }
    }
    Ok(found)
}
