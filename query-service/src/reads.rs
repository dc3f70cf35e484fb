//! Rows from a user's shard: row and checkpoint of one moment of one server, never older than demanded, and
//! never longer waited for than a caller would.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use access_node::AccessNode;
use event_log::Topics;
use futures::{StreamExt as _, TryStreamExt as _};
use read_model::checkpoint::{Placed, Standing};
use read_model::queries::Snapshot;
use read_model::schema::Identity;
use read_model::{PoolSettings, ShardId, Shards};
use schemas::{LogId, Position, Stream, UserId};
use service_kit::at_least::AtLeast;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;
use tokio::time::Instant;

use crate::app::App;
use crate::freshness::{WAIT, not_yet};
use crate::servers::{Server, Servers};

/// Of everything a request does in its shard; beyond it the shard counts as gone.
const LIMIT: Duration = Duration::from_secs(4);
/// Of the same where another shard may be asked instead: a little more than it may take to come so far.
const LIMIT_OF_COPY: Duration = Duration::from_millis(2_200);
/// Sources that one request reads at once; more would take the connections of other requests.
const SOURCES_AT_ONCE: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The shards of one log.
pub struct ShardReads {
    shards: Shards,
    servers: RwLock<HashMap<ShardId, Arc<Servers>>>,
    /// What a server holds that is not of the log.
    foreign: OnceLock<String>,
    /// How far the node had come in each ledger, and in the catalog, a short while ago: no replica is read that has
    /// not come so far.
    floor: RwLock<HashMap<Source, Vec<Position>>>,
    topics: Topics,
    log_id: LogId,
    ledgers: i32,
}

/// One moment of a server, and what of the log it reflects.
struct Moment {
    snapshot: Snapshot,
    token: ConsistencyToken,
}

/// What an endpoint reads of a moment; at another server again, if that one fails.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, read_model::Error>> + Send + 'a>>;

/// Rows that one projector keeps up at one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Ledger(i32),
    /// What the catalog's events alone say, its audit rows included.
    Catalog,
    /// The same without audit rows: every shard has it.
    CatalogOn(ShardId),
}

impl Source {
    /// The partition whose rows these are.
    const fn place(self) -> (Stream, i32) {
        match self {
            Self::Ledger(ledger) => (Stream::Users, ledger),
            Self::Catalog | Self::CatalogOn(_) => (Stream::Catalog, 0),
        }
    }

    /// All partitions that its rows come from.
    fn places(self) -> Vec<(Stream, i32)> {
        match self {
            Self::Ledger(_) => vec![self.place(), (Stream::Catalog, 0)],
            Self::Catalog | Self::CatalogOn(_) => vec![self.place()],
        }
    }

    /// The last records of it that the node has seen.
    fn basis(self, node: &AccessNode) -> Vec<Position> {
        match self {
            Self::Ledger(ledger) => node.basis_of_ledger(ledger),
            Self::Catalog | Self::CatalogOn(_) => node.catalog_basis().into_iter().collect(),
        }
    }

    /// What is demanded, as far as its rows can reflect it. `latest` becomes the last records that the node has then
    /// seen: the end of the log itself is often no record, and a checkpoint need not move for what is none.
    fn demanded(self, node: &AccessNode, at_least: &AtLeast) -> Vec<Position> {
        let places = self.places();
        let tokens = at_least.token.iter().flat_map(ConsistencyToken::positions);
        let mut wanted: Vec<_> = tokens
            .filter(|p| places.contains(&(p.stream, p.partition)))
            .collect();
        if at_least.latest {
            wanted.extend(self.basis(node));
        }
        wanted
    }
}

/// What is asked of a moment.
struct Wanted<'a> {
    source: Source,
    positions: &'a [Position],
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the shard has not applied what is demanded yet")]
    NotYet,
    #[error("the copy of {0:?} that this node knows of was given up: it has not heard of a newer shard map")]
    Retired(Source),
    #[error("reading a shard")]
    Shard(#[from] read_model::Error),
    #[error("the shard gave no answer in {LIMIT:?}")]
    TimedOut,
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::NotYet => not_yet(),
            ReadError::TimedOut | ReadError::Retired(_) => Self::unavailable(&error),
            ReadError::Shard(shard) if may_pass(shard) => Self::unavailable(&error),
            ReadError::Shard(read_model::Error::Foreign { .. } | read_model::Error::NoSuchShard { .. }) => {
                Self::unavailable(&error)
            }
            ReadError::Shard(_) => Self::internal(&error),
        }
    }
}

/// A database without tables is one that its projector has not come to yet.
fn may_pass(error: &read_model::Error) -> bool {
    error.is_unprepared() || matches!(error, read_model::Error::Sql(sql) if read_model::is_transient(sql))
}

/// Settings of the pools, one for each server. Connections are made when used: a shard that is down must keep neither
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
            servers: RwLock::default(),
            foreign: OnceLock::new(),
            floor: RwLock::default(),
            shards,
            topics,
            log_id,
            ledgers,
        }
    }

    pub fn configured(&self) -> &Shards {
        &self.shards
    }

    /// Goes by the newest shard map that the node has heard of.
    fn follow(&self, node: &AccessNode) {
        if let Some(map) = &node.aside().shard_map {
            self.shards.take_map(map);
        }
    }

    /// The servers of the shard where the rows lie, as configured now.
    fn servers(&self, source: Source) -> Result<Arc<Servers>, read_model::Error> {
        let shard = match source {
            Source::Ledger(ledger) => self.shards.of_ledger(ledger)?,
            Source::Catalog => self.shards.of_catalog_audit()?,
            Source::CatalogOn(id) => self.shards.on(id)?,
        };
        let known = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&shard.id).filter(|known| known.are_of(&shard)) {
            return Ok(Arc::clone(known));
        }
        drop(known);
        let servers = Arc::new(Servers::of(shard.clone()));
        let mut known = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(shard.id, Arc::clone(&servers));
        Ok(servers)
    }

    /// Makes sure that a server is one of the log's, of that shard: at the start it may have been down.
    async fn prove(&self, server: &Server, shard_id: ShardId) -> Result<(), read_model::Error> {
        let identity = Identity {
            log_id: self.log_id,
            ledgers: self.ledgers,
            shard_id,
        };
        server.prove(identity).await.inspect_err(|error| {
            if let read_model::Error::Foreign { .. } = error {
                self.foreign.get_or_init(|| error.to_string());
            }
        })
    }

    /// A moment of this server as it is now, if it reflects all that is wanted.
    async fn moment(&self, server: &Server, wanted: &Wanted<'_>) -> Result<Moment, ReadError> {
        let mut snapshot = Snapshot::begin(server.pool()).await?;
        let placed = snapshot.checkpoints().await?;
        let standing = self.standing(&placed, wanted.source);
        // Not there yet: the rows are not either.
        let standing = standing.ok_or(ReadError::NotYet)?;
        if standing.retired_by_map.is_some() {
            return Err(ReadError::Retired(wanted.source));
        }
        let token = self.reflected(wanted.source, &placed);
        let covers = |p: &Position| token.offset(p.stream, p.partition) >= Some(p.offset);
        if standing.serves(self.shards.map().version()) && wanted.positions.iter().all(covers) {
            return Ok(Moment { snapshot, token });
        }
        Err(ReadError::NotYet)
    }

    /// As [`Self::moment`] of the primary, which will come so far; and by then the node may know a newer map.
    async fn awaited_moment(&self, node: &AccessNode, wanted: &Wanted<'_>) -> Result<Moment, ReadError> {
        let deadline = Instant::now() + WAIT;
        let mut pause = FIRST_PAUSE;
        loop {
            self.follow(node);
            let servers = self.servers(wanted.source)?;
            self.prove(servers.primary(), servers.shard_id()).await?;
            let outcome = self.moment(servers.primary(), wanted).await;
            let error = match outcome {
                Err(error @ (ReadError::NotYet | ReadError::Retired(_))) => error,
                outcome => return outcome,
            };
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn standing(&self, placed: &[Placed], source: Source) -> Option<Standing> {
        let (stream, partition) = source.place();
        let topic = self.topics.of(stream);
        let mut own = placed
            .iter()
            .filter(|it| it.topic == topic && it.partition == partition);
        own.next().map(|it| it.standing)
    }

    fn reflected(&self, source: Source, placed: &[Placed]) -> ConsistencyToken {
        let mut token = ConsistencyToken::new(self.log_id);
        let places: Vec<_> = source
            .places()
            .into_iter()
            .map(|place| (self.topics.of(place.0), place))
            .collect();
        for placed in placed {
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
        token
    }

    /// Remembers how far the node has come, for replicas to be measured against from the next call on.
    pub fn raise_floor(&self, node: &AccessNode, now: &mut HashMap<Source, Vec<Position>>) {
        let seen = self.sources().map(|source| (source, source.basis(node)));
        let before = std::mem::replace(now, seen.collect());
        *self.floor.write().unwrap_or_else(PoisonError::into_inner) = before;
    }

    fn floor(&self, source: Source) -> Vec<Position> {
        let source = match source {
            Source::CatalogOn(_) => Source::Catalog,
            own => own,
        };
        let floor = self.floor.read().unwrap_or_else(PoisonError::into_inner);
        floor.get(&source).cloned().unwrap_or_default()
    }

    pub const fn ledgers(&self) -> i32 {
        self.ledgers
    }

    /// All that rows come from.
    pub fn sources(&self) -> impl Iterator<Item = Source> + use<> {
        (0..self.ledgers).map(Source::Ledger).chain([Source::Catalog])
    }

    /// Reads at a replica that has come far enough, if there is one, else at the primary.
    async fn read<T>(
        &self,
        node: &AccessNode,
        wanted: &Wanted<'_>,
        read: impl Fn(&mut Snapshot) -> Reading<'_, T> + Send + Sync,
    ) -> Result<(T, ConsistencyToken), ReadError> {
        self.follow(node);
        let servers = self.servers(wanted.source)?;
        let at_least = [wanted.positions, &self.floor(wanted.source)].concat();
        let of_replica = Wanted {
            source: wanted.source,
            positions: &at_least,
        };
        for replica in servers.replicas() {
            let reading = async {
                self.prove(replica, servers.shard_id()).await?;
                let mut moment = self.moment(replica, &of_replica).await?;
                Ok::<_, ReadError>((read(&mut moment.snapshot).await?, moment.token))
            };
            if let Some(found) = replica.attempt(reading).await {
                metrics::counter!("shard_reads_total", "server" => "replica").increment(1);
                return Ok(found);
            }
        }
        let mut moment = self.awaited_moment(node, wanted).await?;
        let found = read(&mut moment.snapshot).await?;
        metrics::counter!("shard_reads_total", "server" => "primary").increment(1);
        Ok((found, moment.token))
    }
}

impl App {
    /// Reads about a user in a moment of their shard that reflects what the request demands, all
    /// of it in bounded time. The node must have reached that already.
    pub async fn read<T>(
        &self,
        user: UserId,
        at_least: &AtLeast,
        read: impl Fn(&mut Snapshot) -> Reading<'_, T> + Send + Sync,
    ) -> Result<(T, ConsistencyToken), Problem> {
        let source = Source::Ledger(self.node.ledger(user));
        self.read_of(source, at_least, read).await
    }

    /// As [`Self::read`], of one source.
    pub async fn read_of<T>(
        &self,
        source: Source,
        at_least: &AtLeast,
        read: impl Fn(&mut Snapshot) -> Reading<'_, T> + Send + Sync,
    ) -> Result<(T, ConsistencyToken), Problem> {
        let reading = self.read_source(source, at_least, read);
        let in_time = tokio::time::timeout(LIMIT, reading).await;
        Ok(in_time.unwrap_or(Err(ReadError::TimedOut))?)
    }

    /// As [`Self::read`], of roles and permissions: of the first shard that answers with what is demanded.
    pub async fn read_catalog<T>(
        &self,
        at_least: &AtLeast,
        read: impl Fn(&mut Snapshot) -> Reading<'_, T> + Send + Sync,
    ) -> Result<(T, ConsistencyToken), Problem> {
        let of_one = async {
            let mut refused = None;
            for shard in self.shards.configured().iter() {
                let reading = self.read_source(Source::CatalogOn(shard.id), at_least, &read);
                let in_time = tokio::time::timeout(LIMIT_OF_COPY, reading).await;
                match in_time.unwrap_or(Err(ReadError::TimedOut)) {
                    Ok(found) => return Ok(found),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            Err(refused.unwrap_or(ReadError::NotYet))
        };
        let in_time = tokio::time::timeout(LIMIT, of_one).await;
        Ok(in_time.unwrap_or(Err(ReadError::TimedOut))?)
    }

    /// As [`Self::read`], of all users and of the catalog: a moment of each, in no order.
    pub async fn read_all<T>(
        &self,
        at_least: &AtLeast,
        read: impl for<'a> Fn(Source, &'a mut Snapshot) -> Reading<'a, T> + Send + Sync,
    ) -> Result<(Vec<T>, ConsistencyToken), Problem> {
        self.read_each(self.shards.sources(), at_least, read).await
    }

    /// As [`Self::read_all`], of these sources.
    pub async fn read_each<T>(
        &self,
        sources: impl Iterator<Item = Source>,
        at_least: &AtLeast,
        read: impl for<'a> Fn(Source, &'a mut Snapshot) -> Reading<'a, T> + Send + Sync,
    ) -> Result<(Vec<T>, ConsistencyToken), Problem> {
        let read = &read;
        let readings = sources.map(async |source| {
            let reading = self.read_source(source, at_least, |snapshot| read(source, snapshot));
            let (rows, reflected) = reading.await?;
            Ok::<_, ReadError>((rows, reflected.position(source.place())))
        });
        let all = futures::stream::iter(readings)
            .buffer_unordered(SOURCES_AT_ONCE)
            .try_collect::<Vec<_>>();
        let in_time = tokio::time::timeout(LIMIT, all).await;
        let found = in_time.unwrap_or(Err(ReadError::TimedOut))?;
        let (rows, positions): (_, Vec<_>) = found.into_iter().unzip();
        Ok((rows, self.token(positions.into_iter().flatten())))
    }

    async fn read_source<T>(
        &self,
        source: Source,
        at_least: &AtLeast,
        read: impl Fn(&mut Snapshot) -> Reading<'_, T> + Send + Sync,
    ) -> Result<(T, ConsistencyToken), ReadError> {
        let positions = source.demanded(&self.node, at_least);
        let wanted = Wanted {
            source,
            positions: &positions,
        };
        self.shards.read(&self.node, &wanted, read).await
    }

    /// Why rows of some ledger cannot be read: the configuration has not every shard, or one that is not of the log.
    pub fn shards_misfit(&self) -> Option<String> {
        self.shards.follow(&self.node);
        let misfit = self.shards.shards.misfit(self.shards.ledgers);
        let misfit = misfit.map(|error| error.to_string());
        misfit.or_else(|| self.shards.foreign.get().cloned())
    }
}

#[cfg(test)]
mod tests;
