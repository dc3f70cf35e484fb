//! Rows from a user's shard: row and checkpoint of one moment, never older than demanded, and
//! never longer waited for than a caller would.

use std::sync::OnceLock;
use std::time::Duration;

use event_log::Topics;
use read_model::queries::Snapshot;
use read_model::schema::{self, Identity};
use read_model::{Placement, PoolSettings, Shard, Shards};
use schemas::catalog::ShardMapChanged;
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

/// The shards of one log.
pub struct ShardReads {
    shards: Shards,
    placement: Placement,
    /// Of each shard, by id: it is claimed as that shard of the log.
    proven: Vec<OnceLock<()>>,
    /// What one of them is instead.
    foreign: OnceLock<String>,
    topics: Topics,
    log_id: LogId,
    ledgers: i32,
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
            ReadError::Shard(shard) if may_pass(shard) => Self::unavailable(&error),
            ReadError::Shard(
                read_model::Error::Foreign { .. }
                | read_model::Error::ShardCount { .. }
                | read_model::Error::Misplaced { .. },
            ) => Self::unavailable(&error),
            ReadError::Shard(_) => Self::internal(&error),
        }
    }
}

/// A database without tables is one that its projector has not come to yet.
fn may_pass(error: &read_model::Error) -> bool {
    error.is_unprepared() || matches!(error, read_model::Error::Sql(sql) if read_model::is_transient(sql))
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
    pub fn new(shards: Shards, topics: Topics, log_id: LogId, ledgers: i32) -> Self {
        Self {
            placement: shards.map().placement(ledgers),
            proven: shards.iter().map(|_| OnceLock::new()).collect(),
            foreign: OnceLock::new(),
            shards,
            topics,
            log_id,
            ledgers,
        }
    }

    /// The shard of a ledger, once it is known for the log's: at the start it may have been down.
    async fn shard(&self, ledger: i32) -> Result<&Shard, read_model::Error> {
        let shard = self.shards.of_ledger(ledger);
        let index = usize::try_from(shard.id).unwrap_or(usize::MAX);
        let Some(proven) = self.proven.get(index).filter(|proven| proven.get().is_none()) else {
            return Ok(shard);
        };
        let identity = Identity {
            log_id: self.log_id,
            ledgers: self.ledgers,
            shard_id: shard.id,
        };
        // One that nobody has claimed is empty.
        if let Some(found) = schema::identity(&shard.pool).await? {
            identity.check(found).inspect_err(|error| {
                self.foreign.get_or_init(|| error.to_string());
            })?;
            proven.get_or_init(|| ());
        }
        Ok(shard)
    }

    /// Refuses a log whose ledgers have moved since the start: what is read here may be a copy that nobody
    /// fills any more.
    fn check_map(&self, recorded: Option<&ShardMapChanged>) -> Result<(), read_model::Error> {
        self.placement.check(recorded)
    }

    /// A moment of the ledger's shard that reflects all of `wanted`.
    async fn moment(&self, ledger: i32, wanted: &[Position]) -> Result<Moment, ReadError> {
        let deadline = Instant::now() + WAIT;
        let mut pause = FIRST_PAUSE;
        let shard = self.shard(ledger).await?;
        loop {
            let mut snapshot = Snapshot::begin(&shard.pool).await?;
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
            self.shards.check_map(self.node.catalog().shard_map())?;
            let mut moment = self.shards.moment(ledger, &wanted).await?;
            let found = read(&mut moment.snapshot).await?;
            Ok::<_, ReadError>((found, moment.token))
        };
        let in_time = tokio::time::timeout(LIMIT, reading).await;
        Ok(in_time.unwrap_or(Err(ReadError::TimedOut))?)
    }

    /// Why the configured shards are not those of the log.
    pub fn shards_misfit(&self) -> Option<String> {
        let misfit = self.shards.check_map(self.node.catalog().shard_map()).err();
        let misfit = misfit.map(|error| error.to_string());
        misfit.or_else(|| self.shards.foreign.get().cloned())
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
