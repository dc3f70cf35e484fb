//! Data keys in memory, followed from the compacted keys topic.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use schemas::key::{KEY_STORED, KeyStored};
use schemas::{DataKey, KeyEncryptionKey, LogId, UserId, WrappedKey, decode_body, unframe};

use crate::config::KafkaConfig;
use crate::consumer::Reader;
use crate::native::{Headers, Polled};
use crate::topics::HEARTBEAT_KEY;
use crate::watermarks::{self, WatermarkError};

const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

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

impl From<WatermarkError> for KeyRingError {
    fn from(error: WatermarkError) -> Self {
        Self::Kafka(error.to_string())
    }
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
    /// Offset of the next record to read of each partition.
    positions: RwLock<Vec<i64>>,
    config: KafkaConfig,
    /// Asks how far the topic reaches.
    ends: BaseConsumer,
    stop: AtomicBool,
    /// Something was not read in time: a client may lose a partition, and only a new one finds it.
    reopen: AtomicBool,
    /// Why the topic cannot be read at the moment.
    failed: RwLock<Option<String>>,
    /// Somebody's key was not there: the topic is damaged, and no one knows what else is gone.
    damaged: RwLock<Option<String>>,
}

impl KeyRing {
    /// Starts to follow the keys topic of `ledgers` partitions from its beginning.
    pub fn open(
        config: &KafkaConfig,
        ledgers: i32,
        log_id: LogId,
        key: KeyEncryptionKey,
    ) -> Result<Self, KeyRingError> {
        let shared = Arc::new(Shared {
            keys: RwLock::default(),
            positions: RwLock::new(vec![BEGINNING; usize::try_from(ledgers).unwrap_or(0)]),
            config: config.clone().patient(),
            ends: watermarks::client(config)?,
            stop: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            failed: RwLock::default(),
            damaged: RwLock::default(),
        });
        let reader = shared.reader()?;
        let follower = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("rolecall-keys".to_owned())
            .spawn(move || follower.follow(reader))
            .map_err(|error| KeyRingError::Kafka(error.to_string()))?;
        Ok(Self { shared, log_id, key })
    }

    /// A user's key. One not seen yet is waited for up to the topic's present end; only then is it
    /// called missing.
    pub async fn get(&self, user: UserId) -> Result<DataKey, KeyRingError> {
        if let Some(found) = self.lookup(user) {
            return found;
        }
        self.catch_up().await?;
        self.lookup(user).unwrap_or_else(|| {
            *self.shared.damaged.write() = Some(format!("the data key of user {user} is missing"));
            Err(KeyRingError::Missing)
        })
    }

    /// Waits until everything in the topic at this moment is taken in.
    pub async fn catch_up(&self) -> Result<(), KeyRingError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.catch_up())
            .await
            .map_err(|error| KeyRingError::Kafka(error.to_string()))?
    }

    /// Takes in a key that this process has just committed, so that no one waits for its echo.
    pub fn insert(&self, user: UserId, wrapped: WrappedKey) {
        self.shared.keys.write().entry(user).or_insert(Some(wrapped));
    }

    /// Drops a key whose marker this process has just committed.
    pub fn destroy(&self, user: UserId) {
        self.shared.keys.write().insert(user, None);
    }

    /// Why keys cannot be given, or not be trusted to be all there.
    pub fn trouble(&self) -> Option<String> {
        let damaged = self.shared.damaged.read().clone();
        damaged.or_else(|| self.shared.failed.read().clone())
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

/// librdkafka's logical offset of a partition's first record: compaction moves it away from 0.
pub(crate) const BEGINNING: i64 = -2;

impl Shared {
    fn reader(&self) -> Result<Reader, KafkaError> {
        let topic = self.config.topics().keys();
        let positions = self.positions.read().clone();
        let start: Vec<_> = (0..)
            .zip(positions)
            .map(|(p, next)| (topic.clone(), p, next))
            .collect();
        Reader::open(&self.config, &start, Headers::Only(c"content-type"))
    }

    /// Reads on and on; where that fails, it opens the topic again from where it was.
    fn follow(&self, mut reader: Reader) {
        let mut wait = BACKOFF;
        while !self.stop.load(Ordering::Relaxed) {
            let polled = match self.reopen.swap(false, Ordering::Relaxed) {
                true => Err("it did not reach its end in time".to_owned()),
                false => self.take(reader.poll(POLL)),
            };
            let failure = match polled {
                Ok(0) => continue,
                Ok(_) => {
                    wait = BACKOFF;
                    *self.failed.write() = None;
                    continue;
                }
                Err(failure) => failure,
            };
            tracing::warn!("Opening the keys topic again: {failure}");
            *self.failed.write() = Some(failure);
            std::thread::sleep(wait);
            wait = (wait * 2).min(BACKOFF_MAX);
            match self.reader() {
                Ok(opened) => reader = opened,
                Err(error) => *self.failed.write() = Some(error.to_string()),
            }
        }
    }

    /// Takes records in, and gives how many places were read; the error says what cannot be read.
    fn take(&self, polled: Vec<Polled>) -> Result<usize, String> {
        let mut read = 0;
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
            read += 1;
        }
        Ok(read)
    }

    /// Blocks until everything written before this call is taken in.
    fn catch_up(&self) -> Result<(), KeyRingError> {
        let topic = self.config.topics().keys();
        let count = self.positions.read().len();
        let places: Vec<_> = (0..)
            .take(count)
            .map(|partition| (topic.clone(), partition))
            .collect();
        let ends = watermarks::ends(&self.ends, &places)?;
        let (mut before, mut deadline) = (None, Instant::now() + TIMEOUT);
        loop {
            let behind = behind(&self.positions.read(), &ends);
            if behind.is_empty() {
                return Ok(());
            }
            if let Some(error) = self.failed.read().clone() {
                return Err(KeyRingError::Kafka(error));
            }
            // A long topic takes long; standing still is what does not end by itself.
            if before.as_ref() != Some(&behind) {
                (before, deadline) = (Some(behind), Instant::now() + TIMEOUT);
            } else if Instant::now() > deadline {
                self.reopen.store(true, Ordering::Relaxed);
                return Err(KeyRingError::Kafka(
                    "the keys topic did not reach its end in time".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Partitions that are not read up to their ends, and where each stands: what comes behind the ends is no progress.
fn behind(positions: &[i64], ends: &[i64]) -> Vec<(usize, i64)> {
    let places = positions.iter().zip(ends).enumerate();
    let behind = places.filter(|(_, (position, end))| **end > 0 && position < end);
    behind.map(|(index, (position, _))| (index, *position)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lacks_is_waited_for() {
        assert_eq!(
            behind(&[5, BEGINNING, 3, BEGINNING], &[5, 0, 4, 2]),
            [(2, 3), (3, BEGINNING)]
        );
        assert_eq!(behind(&[9, BEGINNING, 4], &[5, 0, 4]), []);
    }
}
