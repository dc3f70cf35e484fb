//! Bringing a shard up: its schema, whose it is, and where its partitions go on.

use event_log::Topics;
use read_model::checkpoint::{self, Checkpoint, TakenUp};
use read_model::schema::{self, Identity};
use read_model::{Duty, Shard, ShardMap, Shards};
use schemas::Stream;

use crate::apply::{ApplyError, Backoff};
use crate::progress::Lane;
use crate::projection::{Known, ShardError};
use crate::projections;
use crate::status::Status;
use crate::upkeep::Upkeep;

/// A partition's checkpoint, and whether a failure of an earlier run stands beside it.
pub type Opened = (Lane, (Checkpoint, bool));

/// A shard that is to be filled. Several projectors may open one at the same time.
pub struct Opening<'a> {
    pub shard: &'a Shard,
    pub map: &'a ShardMap,
    pub duty: &'a Duty,
    pub shards: &'a Shards,
    /// Of a run that ends somewhere.
    pub keeps_map: bool,
    pub status: &'a Status,
    pub known: &'a Known,
    pub topics: Topics,
    pub upkeep: &'a Upkeep,
}

impl Opening<'_> {
    /// Waits for a shard that is down. `None` where it knows a newer map than this projector.
    pub async fn open(&self) -> Result<Option<Vec<Opened>>, ShardError> {
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
                // Of a batch; none is applied here.
                Err(ApplyError::Held(at)) => tracing::debug!(at, "Held"),
            }
        }
    }

    async fn try_open(&self) -> Result<Option<Vec<Opened>>, ApplyError> {
        let (shard, known, topics) = (self.shard, self.known, &self.topics);
        let identity = Identity {
            log_id: known.log_id,
            ledgers: known.ledgers,
            shard_id: shard.id,
        };
        schema::prepare(&shard.pool, identity).await?;
        self.upkeep.tend(&shard.pool).await?;
        // The catalog's partition may stand behind an event that this projector has never read.
        let applied = projections::shard_placement::applied(&shard.pool).await?;
        if let Some(newer) = applied.filter(|it| !self.keeps_map && it.version > self.map.version()) {
            self.shards.take_map(&newer);
            return Ok(None);
        }
        projections::shard_placement::begin(&shard.pool, self.map, known.ledgers).await?;
        self.retire().await?;
        let mut checkpoints = Vec::new();
        for (stream, partition) in lanes(self.duty) {
            let topic = topics.of(stream);
            let (version, filling) = (self.map.version(), self.duty.filling.contains(&partition));
            let is_filled = filling && stream != Stream::Catalog;
            let taken =
                checkpoint::take_up(&shard.pool, (stream, &topic), partition, version, is_filled).await?;
            let TakenUp::At(checkpoint) = taken else {
                tracing::warn!(
                    topic,
                    partition,
                    "A newer shard map than {version} has retired {topic}-{partition}"
                );
                continue;
            };
            let had_failure = checkpoint::has_failure(&shard.pool, &topic, partition).await?;
            checkpoints.push(((stream, partition), (checkpoint, had_failure)));
        }
        Ok(Some(checkpoints))
    }

    /// What the map does not want here any more is marked, so that nobody who has an older map reads it on.
    async fn retire(&self) -> Result<(), ApplyError> {
        let of_ledgers = [Stream::Users, Stream::Identifiers].map(|stream| self.topics.of(stream));
        let kept: Vec<i32> = self.duty.ledgers().collect();
        let version = self.map.version();
        let retired = checkpoint::retire_others(&self.shard.pool, &of_ledgers, &kept, version).await?;
        for (topic, partition) in retired {
            let shard = self.shard.id;
            tracing::info!(
                shard.id = shard,
                topic,
                partition,
                "Retired {topic}-{partition} on shard {shard}"
            );
        }
        Ok(())
    }
}

/// The catalog, and users and identifiers of the shard's ledgers.
pub fn lanes(duty: &Duty) -> Vec<Lane> {
    let of_ledgers = duty
        .ledgers()
        .flat_map(|it| [(Stream::Users, it), (Stream::Identifiers, it)]);
    [(Stream::Catalog, 0)].into_iter().chain(of_ledgers).collect()
}
