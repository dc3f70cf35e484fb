//! What the workers of one shard share, and whether its database still has what they wrote.

use std::time::Duration;

use event_log::Topics;
use read_model::Shards;
use read_model::checkpoint::{self, Placed};
use schemas::SchemaIds;
use schemas::catalog::ShardMapChanged;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::{ApplyError, chain};
use crate::progress::{Lane, Progress};
use crate::status::Status;
use crate::upkeep::Upkeep;

/// How often a shard is asked whether it still has what was written.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// One that is down is asked more often: idle connections from before fail once each when it is back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// One that is silent for so long is down. A replay may keep every connection busy for a while.
const PATIENCE: Duration = Duration::from_secs(30);
/// A transaction that takes longer to end than this may end behind the back of whoever goes on.
const SETTLE: Duration = Duration::from_secs(2);

/// What the workers of one shard share.
pub struct ShardContext {
    pub pool: PgPool,
    pub upkeep: Upkeep,
    pub progress: Progress,
    pub status: Status,
    pub schema_ids: watch::Sender<SchemaIds>,
    /// All that there are, by the map that this projector goes by.
    pub shards: Shards,
    pub ledgers: i32,
    /// Of a run that ends somewhere, which goes by the map that it began with.
    pub keeps_map: bool,
    pub topics: Topics,
    pub shutdown: CancellationToken,
    /// Transactions under way, also those of workers that were stopped.
    pub applying: TaskTracker,
}

impl ShardContext {
    /// Goes by a newer map from now on.
    pub fn learn_map(&self, map: &ShardMapChanged) {
        if !self.keeps_map {
            self.shards.take_map(map);
            self.status.shard_map(self.shards.misfit(self.ledgers));
        }
    }

    /// Whether the database lacks what any worker of the shard committed, as after a restored backup,
    /// or has not even its tables.
    pub async fn was_set_back(&self) -> Result<bool, read_model::Error> {
        // Before the database is asked: what a worker commits meanwhile is only ahead of this.
        let left = self.progress.checkpoints();
        let mut connection = self.pool.acquire().await?;
        match checkpoint::all(&mut connection).await {
            Err(error) if error.is_unprepared() => Ok(true),
            found => Ok(is_behind(&left, &found?, &self.topics)),
        }
    }

    /// As [`Self::was_set_back`]; a database that cannot tell now is asked again by the next attempt.
    pub async fn may_be_set_back(&self) -> bool {
        match self.was_set_back().await {
            Ok(set_back) => set_back,
            Err(error) => matches!(ApplyError::from(error), ApplyError::Transient(_)),
        }
    }

    /// Waits until what the workers began is committed or is not; the checkpoint protects what comes after
    /// from the rest.
    pub async fn settled(&self) {
        self.applying.close();
        if tokio::time::timeout(SETTLE, self.applying.wait()).await.is_err() {
            tracing::debug!("Transactions of stopped workers are left to themselves");
        }
    }

    async fn look(&self) -> Result<bool, read_model::Error> {
        let set_back = self.was_set_back().await?;
        if !set_back {
            self.upkeep.tend_or_warn(&self.pool).await;
        }
        Ok(set_back)
    }

    /// Looks every so often, since a quiet shard would not notice otherwise, and says when the shard is
    /// down. True when the database was set back, and then everything on the shard ends.
    pub async fn watch(&self) -> bool {
        let mut wait = LOOK_EVERY;
        loop {
            let look = async {
                tokio::time::sleep(wait).await;
                tokio::time::timeout(PATIENCE, self.look()).await
            };
            let Some(looked) = self.shutdown.run_until_cancelled(look).await else {
                return false;
            };
            let down = match looked {
                Ok(Ok(true)) => {
                    self.status.set_back();
                    self.shutdown.cancel();
                    return true;
                }
                Ok(Ok(false)) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some("the shard does not answer".to_owned()),
            };
            wait = if down.is_some() { LOOK_AGAIN } else { LOOK_EVERY };
            down.map_or_else(|| self.status.up(), |reason| self.status.down(&reason));
        }
    }
}

/// Whether a checkpoint stands before where a worker left it. One that stands behind it proves nothing:
/// a worker may be moving it, or another projector.
fn is_behind(left: &[(Lane, i64)], found: &[Placed], topics: &Topics) -> bool {
    let stands = |&((stream, partition), next): &(Lane, i64)| {
        let topic = topics.of(stream);
        found
            .iter()
            .any(|it| it.topic == topic && it.partition == partition && it.checkpoint.next_offset >= next)
    };
    !left.iter().all(stands)
}

#[cfg(test)]
mod tests {
    use read_model::checkpoint::{Checkpoint, Standing};
    use schemas::Stream;

    use super::*;

    #[test]
    fn only_a_checkpoint_before_what_was_committed_proves_a_loss() {
        let left = [((Stream::Catalog, 0), 5), ((Stream::Users, 3), 100)];
        let found = |catalog: i64, users: Option<i64>| -> Vec<Placed> {
            [("test.catalog", 0, Some(catalog)), ("test.users", 3, users)]
                .into_iter()
                .filter_map(|(topic, partition, next_offset)| {
                    let next_offset = next_offset?;
                    let checkpoint = Checkpoint {
                        next_offset,
                        ..Checkpoint::START
                    };
                    Some(Placed {
                        topic: topic.to_owned(),
                        partition,
                        checkpoint,
                        standing: Standing::default(),
                    })
                })
                .collect()
        };
        let set_back = |found: &[Placed]| is_behind(&left, found, &Topics::new("test"));
        assert!(!set_back(&found(5, Some(100))));
        assert!(!set_back(&found(6, Some(250))), "moved meanwhile");
        assert!(
            set_back(&found(6, Some(99))),
            "one lane survived, its sibling did not"
        );
        assert!(set_back(&found(5, None)), "no such row");
    }
}
