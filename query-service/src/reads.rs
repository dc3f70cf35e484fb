//! Rows from a user's shard: row and checkpoint of one moment, never older than demanded, and
//! never longer waited for than a caller would.

use std::time::Duration;

use event_log::Topics;
use read_model::queries::Snapshot;
use read_model::{PoolSettings, Shards};
use schemas::{LogId, Position, Stream, UserId};
use service_kit::at_least::AtLeast;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;
use tokio::time::Instant;

use crate::app::App;
use crate::freshness::{WAIT, not_yet};

/// Of everything a request does in its shard; beyond it the shard counts as gone.
const LIMIT: Duration = Duration::from_secs(4);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const UNDEFINED_TABLE: &str = "42P01";

/// The shards of one log.
pub struct ShardReads {
    shards: Shards,
    topics: Topics,
    log_id: LogId,
}

/// One moment of a shard, and what of the log it reflects.
pub struct Moment {
    pub snapshot: Snapshot,
    pub token: ConsistencyToken,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the shard has not applied what is demanded yet")]
    NotYet,
    #[error("reading a shard")]
    Shard(#[from] read_model::Error),
    #[error("the shard gave no answer in {LIMIT:?}")]
    TimedOut,
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::NotYet => not_yet(),
            ReadError::TimedOut => Self::unavailable(&error),
            ReadError::Shard(read_model::Error::Sql(sql)) if may_pass(sql) => Self::unavailable(&error),
            ReadError::Shard(_) => Self::internal(&error),
        }
    }
}

/// A database without tables is one that its projector has not come to yet.
fn may_pass(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code());
    code.as_deref() == Some(UNDEFINED_TABLE) || read_model::is_transient(error)
}

/// Settings of the pools. Connections are made when used: a shard that is down must keep neither
/// the service from starting nor a check from being answered.
pub fn pool_settings(connections: u32) -> PoolSettings {
    PoolSettings {
        max_connections: connections,
        statement_timeout: LIMIT,
        ..PoolSettings::reading("rolecall-query")
    }
}

impl ShardReads {
    pub fn new(shards: Shards, topics: Topics, log_id: LogId) -> Self {
        Self {
            shards,
            topics,
            log_id,
        }
    }

    /// A moment of the ledger's shard that reflects all of `wanted`.
    async fn moment(&self, ledger: i32, wanted: &[Position]) -> Result<Moment, ReadError> {
        let deadline = Instant::now() + WAIT;
        let mut pause = FIRST_PAUSE;
        loop {
            let mut snapshot = Snapshot::begin(&self.shards.of_ledger(ledger).pool).await?;
            let token = self.reflected(ledger, &mut snapshot).await?;
            let covers = |p: &Position| token.offset(p.stream, p.partition) >= Some(p.offset);
            if wanted.iter().all(covers) {
                return Ok(Moment { snapshot, token });
            }
            drop(snapshot);
            if Instant::now() + pause > deadline {
                return Err(ReadError::NotYet);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn reflected(&self, ledger: i32, snapshot: &mut Snapshot) -> Result<ConsistencyToken, ReadError> {
        let mut token = ConsistencyToken::new(self.log_id);
        let places = places_of(ledger).map(|place| (self.topics.of(place.0), place));
        for placed in snapshot.checkpoints().await? {
            for (topic, (stream, partition)) in &places {
                if placed.topic == *topic && placed.partition == *partition {
                    let (stream, partition) = (*stream, *partition);
                    let offset = placed.checkpoint.next_offset - 1;
                    token.include(Position {
                        stream,
                        partition,
                        offset,
                    });
                }
            }
        }
        Ok(token)
    }
}

/// The partitions that rows of a ledger's users come from.
const fn places_of(ledger: i32) -> [(Stream, i32); 2] {
    [(Stream::Users, ledger), (Stream::Catalog, 0)]
}

impl App {
    /// Reads about a user in a moment of their shard that reflects what the request demands, all
    /// of it in bounded time. The node must have reached that already.
    pub async fn read<T>(
        &self,
        user: UserId,
        at_least: &AtLeast,
        read: impl AsyncFnOnce(&mut Snapshot) -> Result<T, read_model::Error>,
    ) -> Result<(T, ConsistencyToken), Problem> {
        let ledger = self.node.ledger(user);
        let wanted = self.wanted_of_shard(user, at_least);
        let reading = async {
            let mut moment = self.shards.moment(ledger, &wanted).await?;
            let found = read(&mut moment.snapshot).await?;
            Ok::<_, ReadError>((found, moment.token))
        };
        let in_time = tokio::time::timeout(LIMIT, reading).await;
        Ok(in_time.unwrap_or(Err(ReadError::TimedOut))?)
    }

    /// What the request demands, as far as the user's rows can reflect it. `latest` becomes the
    /// last records that the node has then seen: the end of the log itself is often no record, and
    /// a checkpoint need not move for what is none.
    fn wanted_of_shard(&self, user: UserId, at_least: &AtLeast) -> Vec<Position> {
        let places = places_of(self.node.ledger(user));
        let tokens = at_least.token.iter().flat_map(ConsistencyToken::positions);
        let mut wanted: Vec<_> = tokens
            .filter(|p| places.contains(&(p.stream, p.partition)))
            .collect();
        if at_least.latest {
            wanted.extend(self.node.basis(user));
        }
        wanted
    }
}

#[cfg(test)]
mod tests;
