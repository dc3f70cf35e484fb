//! The servers of one shard: its primary and those that follow it, each with connections of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use read_model::schema::{self, Identity};
use read_model::{Shard, ShardId};
use sqlx::PgPool;

use crate::reads::ReadError;

/// A replica that gives no answer for so long is passed over; the primary has it too.
const PATIENCE: Duration = Duration::from_millis(500);
/// One that failed is not asked for so long.
const AWAY: Duration = Duration::from_secs(3);

pub struct Servers {
    shard: Shard,
    primary: Server,
    replicas: Vec<Server>,
    turn: AtomicUsize,
}

pub struct Server {
    pool: PgPool,
    /// It is claimed as that shard of the log, or a copy of one that is.
    proven: AtomicBool,
    away_until: Mutex<Option<Instant>>,
}

impl Servers {
    pub fn of(shard: Shard) -> Self {
        Self {
            primary: Server::new(shard.pool.clone()),
            replicas: shard.replicas.iter().cloned().map(Server::new).collect(),
            turn: AtomicUsize::new(0),
            shard,
        }
    }

    pub fn are_of(&self, shard: &Shard) -> bool {
        self.shard.is_same(shard)
    }

    pub fn shard_id(&self) -> ShardId {
        self.shard.id
    }

    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// Those that may answer, each time another one first.
    pub fn replicas(&self) -> impl Iterator<Item = &Server> {
        let count = self.replicas.len().max(1);
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let (last, next) = self.replicas.split_at(first.min(self.replicas.len()));
        next.iter().chain(last).filter(|replica| !replica.is_away())
    }
}

impl Server {
    fn new(pool: PgPool) -> Self {
        Self {
            pool,
            proven: AtomicBool::new(false),
            away_until: Mutex::new(None),
        }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Refuses a server that holds something else. One that nobody has claimed is empty, and asked again.
    pub async fn prove(&self, identity: Identity) -> Result<(), read_model::Error> {
        if self.proven.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(found) = schema::identity(&self.pool).await? {
            identity.check(found)?;
            self.proven.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_away(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// What a replica answers; `None` if it has not come far enough, or fails.
    pub async fn attempt<T>(&self, reading: impl Future<Output = Result<T, ReadError>>) -> Option<T> {
        let error = match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(found)) => return Some(found),
            // Soon it may have.
            Ok(Err(ReadError::NotYet | ReadError::Retired(_))) => return None,
            Ok(Err(error)) => service_kit::problem::chain(&error),
            Err(_) => format!("no answer in {PATIENCE:?}"),
        };
        tracing::warn!("A replica is passed over for {AWAY:?}: {error}");
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
        None
    }
}

#[cfg(test)]
mod tests {
    use read_model::{PoolSettings, Shards};

    use super::*;

    fn servers() -> Servers {
        let line = "postgres://h/a postgres://r/a postgres://s/a";
        let shards = Shards::connect_lazy(&[line], &PoolSettings::reading("test")).unwrap();
        Servers::of(shards.get(0).unwrap())
    }

    #[tokio::test]
    async fn replicas_take_turns_and_one_that_failed_is_passed_over() {
        let servers = servers();
        let first = |servers: &Servers| std::ptr::from_ref(servers.replicas().next().unwrap());
        assert_ne!(first(&servers), first(&servers));
        let failed = &servers.replicas[0];
        let failing = async { Err::<(), _>(ReadError::TimedOut) };
        assert!(failed.attempt(failing).await.is_none());
        for _ in 0..3 {
            assert_eq!(first(&servers), std::ptr::from_ref(&servers.replicas[1]));
        }
    }

    #[tokio::test]
    async fn one_that_lags_is_asked_again_at_once() {
        let servers = servers();
        let lagging = async { Err::<(), _>(ReadError::NotYet) };
        assert!(servers.replicas[0].attempt(lagging).await.is_none());
        assert_eq!(servers.replicas().count(), 2);
    }
}
