//! Projecting the log anew beside the live tables, to compare.

use std::collections::{BTreeMap, HashMap};

use read_model::checkpoint::Placed;
use read_model::digest::{DigestsAt, digests};
use read_model::queries::Snapshot;
use read_model::{Shard, ShardMap, Shards, schema, time_series};
use schemas::Stream;
use service_kit::Readiness;
use tokio_util::sync::CancellationToken;

use crate::apply::chain;
use crate::assignment::Assignment;
use crate::progress::Lane;
use crate::projection::{Ending, Known, Projection, ShardError};
use crate::source::Log;
use crate::worker::{Ended, MAX_BATCH};

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("asking for digests")]
    Digest(#[from] read_model::Error),
    #[error("the scratch database is not empty")]
    NotEmpty,
    #[error("{stream:?}-{partition} did not reach its position: {ended:?}")]
    Unfinished {
        stream: Stream,
        partition: i32,
        ended: Ended,
    },
}

/// Digests of a live shard beside those of its rebuild.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub live: DigestsAt,
    pub rebuilt: DigestsAt,
}

impl Comparison {
    /// The ledgers whose rows are not what the log says; -1 is the catalog: its copy, its audit rows, or
    /// the places of ledgers.
    pub fn differing(&self) -> Vec<i32> {
        let catalog_differs = self.live.of_catalog() != self.rebuilt.of_catalog();
        let catalog = catalog_differs.then_some(-1);
        let differs = |(ledger, digest): &(&i32, _)| self.rebuilt.ledgers.get(*ledger) != Some(*digest);
        catalog
            .into_iter()
            .chain(
                self.live
                    .ledgers
                    .iter()
                    .filter(differs)
                    .map(|(ledger, _)| *ledger),
            )
            .collect()
    }
}

/// Projects the log from its start up to where `live` stands now into `scratch`, an empty database
/// that stands in for that shard, and gives the digests of both. What the live shard does not keep any
/// more is not rebuilt.
pub async fn compare<L: Log>(
    log: L,
    known: Known,
    map: ShardMap,
    live: &Shard,
    scratch: &sqlx::PgPool,
    shutdown: CancellationToken,
) -> Result<Comparison, RebuildError> {
    let ledgers = map.ledgers_of(live.id, known.ledgers);
    let live_digests = digests(&live.pool, &ledgers).await?;
    let positions = positions(&log, &live_digests.checkpoints);
    let shard = Shard::new(live.id, scratch.clone());
    require_empty(scratch).await?;
    if let Some(oldest) = live_digests.audit_from {
        time_series::retire_before(scratch, time_series::AUDIT, oldest, false)
            .await
            .map_err(read_model::Error::from)?;
    }
    let rebuilt = rebuild(log, known, map, shard, positions, MAX_BATCH, shutdown).await?;
    Ok(Comparison {
        live: live_digests,
        rebuilt,
    })
}

/// Projects the log from its start up to `positions` into an empty database.
pub async fn rebuild<L: Log>(
    log: L,
    known: Known,
    map: ShardMap,
    scratch: Shard,
    positions: HashMap<Lane, i64>,
    batch_limit: usize,
    shutdown: CancellationToken,
) -> Result<DigestsAt, RebuildError> {
    require_empty(&scratch.pool).await?;
    let ledgers = map.ledgers_of(scratch.id, known.ledgers);
    let pool = scratch.pool.clone();
    go_on(log, known, map, scratch, positions, batch_limit, shutdown).await?;
    Ok(digests(&pool, &ledgers).await?)
}

/// As [`rebuild`], from where the database stands.
pub async fn go_on<L: Log>(
    log: L,
    known: Known,
    map: ShardMap,
    scratch: Shard,
    positions: HashMap<Lane, i64>,
    batch_limit: usize,
    shutdown: CancellationToken,
) -> Result<(), RebuildError> {
    let projection = Projection {
        log,
        known,
        shards: Shards::fixed(vec![scratch], map),
        assignment: Assignment::every_shard(),
        readiness: Readiness::default(),
        audit_retention: None,
        stop_at: Some(positions),
        batch_limit,
    };
    finished(&projection.run(shutdown).await?)
}

/// Makes the tables, and refuses a database that was filled.
async fn require_empty(scratch: &sqlx::PgPool) -> Result<(), RebuildError> {
    schema::migrate(scratch).await?;
    let checkpoints = Snapshot::begin(scratch).await?.checkpoints().await?;
    match checkpoints.is_empty() {
        true => Ok(()),
        false => Err(RebuildError::NotEmpty),
    }
}

fn finished(endings: &[Ending]) -> Result<(), RebuildError> {
    match endings.iter().find(|(_, _, ended)| *ended != Ended::Finished) {
        None => Ok(()),
        Some(&(_, (stream, partition), ended)) => Err(RebuildError::Unfinished {
            stream,
            partition,
            ended,
        }),
    }
}

/// Checkpoints as positions to stop at.
pub fn positions<L: Log>(log: &L, checkpoints: &[Placed]) -> HashMap<Lane, i64> {
    let names: BTreeMap<String, Stream> = Stream::ALL.map(|stream| (log.topics().of(stream), stream)).into();
    let lane = |it: &Placed| Some(((*names.get(&it.topic)?, it.partition), it.checkpoint.next_offset));
    checkpoints.iter().filter_map(lane).collect()
}

impl RebuildError {
    /// With its causes, for people.
    pub fn full_text(&self) -> String {
        chain(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_named_and_not_those_who_were_stopped_by_it() {
        let (users, catalog) = ((Stream::Users, 0), (Stream::Catalog, 0));
        let endings = [(0, catalog, Ended::Halted), (0, users, Ended::Shutdown)];
        let error = finished(&endings).unwrap_err().to_string();
        assert_eq!(error, "Catalog-0 did not reach its position: Halted");
        finished(&[(0, catalog, Ended::Finished), (0, users, Ended::Finished)]).unwrap();
    }
}
