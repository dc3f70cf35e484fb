//! Bringing a shard up: its schema, whose it is, and where its partitions go on.

use event_log::Topics;
use read_model::Shard;
use read_model::checkpoint::{self, Checkpoint};
use read_model::schema::{self, Identity};

use crate::apply::{ApplyError, Backoff};
use crate::progress::Lane;
use crate::projection::{Known, ShardError};
use crate::status::Status;
use crate::upkeep::Upkeep;

/// A partition's checkpoint, and whether a failure of an earlier run stands beside it.
pub type Opened = (Lane, (Checkpoint, bool));

/// A shard that is to be filled. Several projectors may open one at the same time.
pub struct Opening<'a> {
    pub shard: &'a Shard,
    pub lanes: &'a [Lane],
    pub status: &'a Status,
    pub known: &'a Known,
    pub topics: Topics,
    pub upkeep: &'a Upkeep,
}

impl Opening<'_> {
    /// Waits for a shard that is down.
    pub async fn open(&self) -> Result<Vec<Opened>, ShardError> {
        let (shard, status) = (self.shard, self.status);
        let mut backoff = Backoff::default();
        loop {
            match self.try_open().await {
                Ok(checkpoints) => return Ok(checkpoints),
                Err(ApplyError::Transient(reason)) => {
                    tracing::warn!(
                        shard.id = shard.id,
                        reason,
                        "Waiting for shard {}: {reason}",
                        shard.id
                    );
                    status.down(&reason);
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Err(ApplyError::Permanent(reason) | ApplyError::Fenced(reason)) => {
                    return Err(ShardError {
                        shard: shard.id,
                        reason,
                    });
                }
            }
        }
    }

    async fn try_open(&self) -> Result<Vec<Opened>, ApplyError> {
        let (shard, known, topics) = (self.shard, self.known, &self.topics);
        let identity = Identity {
            log_id: known.log_id,
            ledgers: known.ledgers,
            shard_id: shard.id,
        };
        schema::prepare(&shard.pool, identity).await?;
        self.upkeep.tend(&shard.pool).await?;
        let mut checkpoints = Vec::with_capacity(self.lanes.len());
        for &(stream, partition) in self.lanes {
            let topic = topics.of(stream);
            let checkpoint = checkpoint::load_or_start(&shard.pool, &topic, partition).await?;
            let had_failure = checkpoint::has_failure(&shard.pool, &topic, partition).await?;
            checkpoints.push(((stream, partition), (checkpoint, had_failure)));
        }
        Ok(checkpoints)
    }
}
