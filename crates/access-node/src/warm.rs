//! A warm start: ledgers are loaded as their owners saved them, and only what came since is read of the log.
//!
//! A snapshot is believed only under its seal, and only if the log goes on from it; any other is as none, and the
//! whole ledger is read. See ADR 14.

mod parts;
mod saving;
mod seal;

use std::sync::Arc;
use std::time::Duration;

use event_log::KafkaConfig;
use event_log::identity::LogIdentity;
use futures::{StreamExt as _, stream};
use read_model::access_snapshots::{self, Ledger, Part};
use read_model::{ShardId, Shards, is_transient};
use schemas::{IndexKey, LogId, Position, Stream};

use crate::model::{Model, Reach};
use parts::{FORMAT, Loaded};
use seal::SealKey;

/// Shards asked at once: a ledger is in memory twice while it is loaded.
const AT_ONCE: usize = 4;
/// For one ledger: a shard that is down may stay so, and the log has everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Owners of ledgers load theirs at the same time, through the same connections.
const AGAIN: Duration = Duration::from_millis(200);

/// Where the snapshots of a log are. Clones share it.
#[derive(Clone)]
pub struct WarmStart {
    shards: Shards,
    key: SealKey,
    log_id: LogId,
    ledgers: i32,
    users_topic: Arc<str>,
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{}", chain(.0))]
    Store(#[from] read_model::Error),
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Refused(#[from] parts::Refused),
    #[error("a task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

fn chain(error: &read_model::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl WarmStart {
    /// Whoever has the index key of a log may seal its snapshots: command and query services.
    pub fn new(shards: Shards, index_key: &IndexKey, kafka: &KafkaConfig, identity: &LogIdentity) -> Self {
        let log_id = identity.created.log_id;
        Self {
            shards,
            key: SealKey::new(index_key, log_id),
            log_id,
            ledgers: identity.created.ledgers,
            users_topic: kafka.topics().of(Stream::Users).into(),
        }
    }

    /// Fills the model's ledgers, as many as can be; gives how far each was filled.
    pub(crate) async fn load(&self, model: &Arc<Model>) -> Vec<(i32, Reach)> {
        let shards = self.shards.map().shards().to_vec();
        let loads = stream::iter(shards).map(|shard| self.load_shard(model, shard));
        let loaded: Vec<Vec<_>> = loads.buffer_unordered(AT_ONCE).collect().await;
        loaded.into_iter().flatten().collect()
    }

    /// One ledger after the other; a shard that does not answer for one is not asked for the rest.
    async fn load_shard(&self, model: &Arc<Model>, shard: ShardId) -> Vec<(i32, Reach)> {
        let mut reached = Vec::new();
        for ledger in self.shards.map().ledgers_of(shard, self.ledgers) {
            match self.load_ledger(model, ledger).await {
                Ok(Some(reach)) => {
                    metrics::counter!("access_snapshots_loaded_total").increment(1);
                    reached.push((ledger, reach));
                }
                Ok(None) => {}
                Err(LoadError::Late) => {
                    tracing::warn!(
                        shard,
                        "Shard {shard} does not answer: its ledgers are read from the log"
                    );
                    break;
                }
                Err(error) => {
                    metrics::counter!("access_snapshots_refused_total").increment(1);
                    tracing::warn!(
                        ledger,
                        "The snapshot of ledger {ledger} is not used, the log is read: {error}"
                    );
                }
            }
        }
        reached
    }

    async fn load_ledger(&self, model: &Arc<Model>, ledger: i32) -> Result<Option<Reach>, LoadError> {
        let parts = tokio::time::timeout(PATIENCE, self.parts(ledger))
            .await
            .map_err(|_| LoadError::Late)??;
        if parts.is_empty() {
            return Ok(None);
        }
        let (key, model) = (self.key.clone(), Arc::clone(model));
        let filling = tokio::task::spawn_blocking(move || {
            let loaded = parts::open(&key, ledger, &parts)?;
            Ok::<_, parts::Refused>(fill(&model, ledger, loaded))
        });
        Ok(Some(filling.await??))
    }

    /// Asks again while the shard may still answer.
    async fn parts(&self, ledger: i32) -> Result<Vec<Part>, read_model::Error> {
        let pool = self.shards.of_ledger(ledger)?.pool;
        loop {
            match access_snapshots::load(&pool, self.place(ledger)).await {
                Err(read_model::Error::Sql(error)) if is_transient(&error) => {
                    tracing::debug!(%error, ledger, "The snapshot is asked for again");
                }
                Err(error) if error.is_unprepared() => return Ok(Vec::new()),
                outcome => return outcome,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn place(&self, ledger: i32) -> Ledger {
        Ledger {
            log_id: self.log_id,
            number: ledger,
            format: FORMAT,
        }
    }
}

fn fill(model: &Model, ledger: i32, loaded: Loaded) -> Reach {
    let reach = loaded.reach;
    model.restore(ledger, reach, loaded.rows);
    if let Some((offset, owner)) = loaded.owner {
        let position = Position {
            stream: Stream::Users,
            partition: ledger,
            offset,
        };
        model.owners.recall(position, owner);
    }
    reach
}
