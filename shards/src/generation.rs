//! A new generation of rows beside the live ones: projected anew from the log into a database of its own, while the live
//! ones serve.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use projector::{Comparison, Known, Lane, MAX_BATCH, go_on, positions};
use read_model::checkpoint::{self, Placed};
use read_model::queries::Snapshot;
use read_model::time_series::{self, AUDIT};
use read_model::{PoolSettings, Shard, ShardId, ShardMap};
use schemas::Stream;
use schemas::catalog::ShardMapChanged;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use crate::place::{Place, identity};

/// So few offsets are read while the live partitions stand still.
const CLOSE: i64 = 200;

/// The new rows, and what they are to replace.
pub struct Generation<'a> {
    pub place: &'a Place,
    pub live: Shard,
    pub new: PgPool,
    known: Known,
    /// As if the shard had what is rebuilt alone.
    map: ShardMap,
    /// The partitions that the rows come from.
    sources: Vec<(String, i32)>,
}

impl<'a> Generation<'a> {
    /// Of a ledger, with the catalog that its rows rest on; or of the catalog alone.
    pub async fn new(
        place: &'a Place,
        ledger: Option<i32>,
        live: Shard,
        new: PgPool,
    ) -> anyhow::Result<Self> {
        let mut sources = Vec::new();
        for (_, topic) in place.topics_of_ledger() {
            sources.extend(ledger.map(|ledger| (topic, ledger)));
        }
        sources.push((place.kafka.topics().of(Stream::Catalog), 0));
        Ok(Self {
            known: Known::from(identity(&place.kafka).await?),
            map: map_of(place, ledger, live.id),
            place,
            live,
            new,
            sources,
        })
    }

    /// Fills the new rows from the log's start, and compares them with the live ones at one position.
    pub async fn compare(&self) -> anyhow::Result<Comparison> {
        let (kafka, known, map) = (self.place.kafka.clone(), self.known.clone(), self.map.clone());
        let stop = CancellationToken::new();
        Ok(projector::compare(kafka, known, map, &self.live, &self.new, stop).await?)
    }

    /// Projects on up to there.
    pub async fn reach(&self, placed: &[Placed]) -> anyhow::Result<()> {
        let own = placed
            .iter()
            .filter(|it| self.is_source(it))
            .cloned()
            .collect::<Vec<_>>();
        let positions: HashMap<Lane, i64> = positions(&self.place.kafka, &own);
        let scratch = Shard::new(self.live.id, self.new.clone());
        let (kafka, known) = (self.place.kafka.clone(), self.known.clone());
        let stop = CancellationToken::new();
        let _stop_at_last = stop.clone().drop_guard();
        Ok(go_on(
            kafka,
            known,
            self.map.clone(),
            scratch,
            positions,
            MAX_BATCH,
            stop,
        )
        .await?)
    }

    /// Comes up with the live rows while these go on, but for little.
    pub async fn come_close(&self) -> anyhow::Result<()> {
        loop {
            let reached = Snapshot::begin(&self.live.pool).await?.checkpoints().await?;
            self.reach(&reached).await?;
            let now = Snapshot::begin(&self.live.pool).await?.checkpoints().await?;
            let sum = |placed: &[Placed]| -> i64 {
                let own = placed.iter().filter(|it| self.is_source(it));
                own.map(|it| it.checkpoint.next_offset).sum()
            };
            if sum(&now) - sum(&reached) <= CLOSE {
                return Ok(());
            }
        }
    }

    /// Keeps the live partitions where they are until the transaction ends, and brings the new rows there. Gives where
    /// that is. `at_most` bounds each of the transaction's statements, its waits for locks and for this program.
    pub async fn meet(
        &self,
        at_most: Option<Duration>,
    ) -> anyhow::Result<(Transaction<'static, Postgres>, Vec<Placed>)> {
        let mut tx = self.live.pool.begin().await?;
        let limit = at_most.map_or(0, |limit| limit.as_millis());
        for setting in [
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout",
        ] {
            let set = AssertSqlSafe(format!("SET LOCAL {setting} = {limit}"));
            sqlx::raw_sql(set).execute(&mut *tx).await?;
        }
        let stopped = checkpoint::stop(&mut tx, &self.sources).await?;
        // No month is let go until the end.
        if let Some(oldest) = time_series::retained_from(&mut tx, AUDIT).await? {
            time_series::retire_before(&self.new, AUDIT, oldest, false).await?;
        }
        self.reach(&stopped).await?;
        Ok((tx, stopped))
    }

    fn is_source(&self, placed: &Placed) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|(topic, partition)| *topic == placed.topic && *partition == placed.partition)
    }
}

fn map_of(place: &Place, ledger: Option<i32>, shard: ShardId) -> ShardMap {
    let elsewhere = i32::from(shard == 0);
    let ledgers = 0..place.ledgers;
    let placed = |it: i32| if Some(it) == ledger { shard } else { elsewhere };
    ShardMap::from(&ShardMapChanged {
        version: place.map.version,
        placement: ledgers.map(placed).collect(),
        shards: place.map.shards,
        ..ShardMapChanged::default()
    })
}

/// Does something with an empty database: with the one that is named, or with one that is made beside the live one, and
/// dropped.
pub async fn with_scratch<T>(
    place: &Place,
    live: &Shard,
    named: Option<&str>,
    work: impl AsyncFnOnce(PgPool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (new, own) = match named {
        Some(dsn) => (PoolSettings::operating().trusting(&place.trust).pool(dsn)?, None),
        None => {
            let name = format!("rolecall_rebuild_{}", uuid::Uuid::now_v7().simple());
            (beside(place, live, &name).await?, Some(name))
        }
    };
    let outcome = work(new.clone()).await;
    new.close().await;
    if let Some(name) = own {
        let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::raw_sql(drop).execute(&live.pool).await?;
    }
    outcome
}

/// A database on the same server.
async fn beside(place: &Place, live: &Shard, name: &str) -> anyhow::Result<PgPool> {
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    let created = sqlx::raw_sql(create).execute(&live.pool).await;
    created.context("making a database beside the live one; `--scratch` names another")?;
    Ok(live.beside(name, &PoolSettings::operating().trusting(&place.trust))?)
}
