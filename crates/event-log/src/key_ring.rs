//! Data keys in memory, followed from the compacted keys topic.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use schemas::key::{KEY_STORED, KeyStored};
use schemas::{DataKey, KeyEncryptionKey, LogId, UserId, WrappedKey, decode_body, unframe};

use crate::config::KafkaConfig;
use crate::consumer::Reader;
use crate::native::{Headers, Polled};
use crate::topics::HEARTBEAT_KEY;
use crate::watermarks;

const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The user was erased: what was sealed is gone for good.
    #[error("the user's data key was destroyed")]
    Destroyed,
    /// No key and no marker. A fault: the keys topic was damaged.
    #[error("the user's data key is missing from the keys topic")]
    Missing,
    #[error("the key-encryption key does not open this user's data key")]
    Unwrap,
    #[error("reading the keys topic: {0}")]
    Kafka(String),
}

impl From<KafkaError> for KeyRingError {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error.to_string())
    }
}

/// Wrapped keys by user; `None` is the marker of a destroyed one.
type Keys = HashMap<UserId, Option<WrappedKey>>;

/// Every user's data key, wrapped until used.
pub struct KeyRing {
    shared: Arc<Shared>,
    log_id: LogId,
    key: KeyEncryptionKey,
}

struct Shared {
    keys: RwLock<Keys>,
    positions: RwLock<Vec<i64>>,
    config: KafkaConfig,
    stop: AtomicBool,
    failed: RwLock<Option<String>>,
}

impl KeyRing {
    /// Starts to follow the keys topic of `ledgers` partitions from its beginning.
    pub fn open(
        config: &KafkaConfig,
        ledgers: i32,
        log_id: LogId,
        key: KeyEncryptionKey,
    ) -> Result<Self, KeyRingError> {
        let topic = config.topics().keys();
        // Compaction moves the beginning, so "from 0" is asked for as what it means.
        let start: Vec<_> = (0..ledgers).map(|p| (topic.clone(), p, BEGINNING)).collect();
        let mut reader = Reader::open(&config.clone().patient(), &start, Headers::Only(c"content-type"))?;
        let shared = Arc::new(Shared {
            keys: RwLock::default(),
            positions: RwLock::new(vec![0; usize::try_from(ledgers).unwrap_or(0)]),
            config: config.clone(),
            stop: AtomicBool::new(false),
            failed: RwLock::default(),
        });
        let follower = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("rolecall-keys".to_owned())
            .spawn(move || {
                while !follower.stop.load(Ordering::Relaxed) {
                    if let Err(error) = follower.take(reader.poll(POLL)) {
                        tracing::error!("The keys topic cannot be read on: {error}");
                        *follower.failed.write() = Some(error);
                        return;
                    }
                }
            })
            .map_err(|error| KeyRingError::Kafka(error.to_string()))?;
        Ok(Self { shared, log_id, key })
    }

    /// A user's key. One not seen yet is waited for up to the topic's present end; only then is it
    /// called missing.
    pub async fn get(&self, user: UserId) -> Result<DataKey, KeyRingError> {
        if let Some(found) = self.lookup(user) {
            return found;
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.catch_up())
            .await
            .map_err(|error| KeyRingError::Kafka(error.to_string()))??;
        self.lookup(user).unwrap_or(Err(KeyRingError::Missing))
    }

    /// Takes in a key that this process has just committed, so that no one waits for its echo.
    pub fn insert(&self, user: UserId, wrapped: WrappedKey) {
        self.shared.keys.write().entry(user).or_insert(Some(wrapped));
    }

    /// Why new keys are not seen any more, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.shared.failed.read().clone()
    }

    fn lookup(&self, user: UserId) -> Option<Result<DataKey, KeyRingError>> {
        let wrapped = self.shared.keys.read().get(&user).cloned()?;
        Some(match wrapped {
            None => Err(KeyRingError::Destroyed),
            Some(wrapped) => self
                .key
                .unwrap_key(self.log_id, user, &wrapped)
                .map_err(|_| KeyRingError::Unwrap),
        })
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// librdkafka's logical offset of a partition's first record.
const BEGINNING: i64 = -2;

impl Shared {
    fn take(&self, polled: Vec<Polled>) -> Result<(), String> {
        for item in polled {
            let (partition, next) = match item {
                Polled::Message(message) if message.key == HEARTBEAT_KEY => {
                    (message.partition, message.offset + 1)
                }
                Polled::Message(message) => {
                    let (_, body) = unframe(&message.value).map_err(|error| error.to_string())?;
                    let stored: KeyStored =
                        decode_body(&KEY_STORED, body).map_err(|error| error.to_string())?;
                    self.keys.write().insert(stored.user_id, stored.wrapped);
                    (message.partition, message.offset + 1)
                }
                Polled::End {
                    partition, offset, ..
                } => (partition, offset),
                Polled::Error { code, .. } if crate::tail::is_permanent(code) => return Err(code.to_string()),
                Polled::Error { .. } => continue,
            };
            if let Ok(index) = usize::try_from(partition)
                && let Some(position) = self.positions.write().get_mut(index)
            {
                *position = (*position).max(next);
            }
        }
        Ok(())
    }

    /// Blocks until everything written before this call is taken in.
    fn catch_up(&self) -> Result<(), KeyRingError> {
        let client: BaseConsumer = watermarks::client(&self.config)?;
        let topic = self.config.topics().keys();
        let count = self.positions.read().len();
        let mut wanted = TopicPartitionList::with_capacity(count);
        for partition in 0..count {
            wanted.add_partition_offset(&topic, i32::try_from(partition).unwrap_or(i32::MAX), Offset::End)?;
        }
        use rdkafka::consumer::Consumer as _;
        let ends: Vec<i64> = client
            .offsets_for_times(wanted, TIMEOUT)?
            .elements()
            .iter()
            .map(|p| match p.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            })
            .collect();
        let deadline = Instant::now() + TIMEOUT;
        while self
            .positions
            .read()
            .iter()
            .zip(&ends)
            .any(|(position, end)| position < end)
        {
            if let Some(error) = self.failed.read().clone() {
                return Err(KeyRingError::Kafka(error));
            }
            if Instant::now() > deadline {
                return Err(KeyRingError::Kafka(
                    "the keys topic did not reach its end in time".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
