//! Rebuilding a ledger: its rows are projected anew from the log into a database of their own while the live ones serve,
//! compared at one position, and put in the place of the live ones in one transaction.
//!
//! Readers see the former rows or the new ones, never both and never none.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use projector::{Known, Lane, MAX_BATCH, go_on, positions};
use read_model::checkpoint::{self, Placed};
use read_model::queries::Snapshot;
use read_model::time_series::{self, AUDIT};
use read_model::{PoolSettings, Shard, ShardMap, digest, ledger_rows, schema};
use schemas::catalog::ShardMapChanged;
use schemas::{Sha256Digest, Stream};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

use crate::cli::RebuildArgs;
use crate::months::{keep_the_same, make_room};
use crate::place::Place;

/// So few offsets are read while the live partitions stand still.
const CLOSE: i64 = 200;

/// The new rows of a ledger, and what they are to replace.
struct Rebuilding<'a> {
    place: &'a Place,
    known: Known,
    ledger: i32,
    live: Shard,
    new: PgPool,
    /// The partitions that its rows come from.
    sources: Vec<(String, i32)>,
}

pub async fn run(place: &Place, args: RebuildArgs) -> anyhow::Result<()> {
    let ledger = args.ledger;
    let live = place.shard_of(ledger)?;
    let moving = place.map.filling.iter().chain(&place.map.leaving);
    ensure!(
        moving.clone().all(|copy| copy.ledger != ledger),
        "ledger {ledger} is being moved"
    );
    let (new, own) = match &args.scratch {
        Some(dsn) => (PoolSettings::operating().trusting(&place.trust).pool(dsn)?, None),
        None => {
            let name = format!("rolecall_rebuild_{}", uuid::Uuid::now_v7().simple());
            (beside(place, &live, &name).await?, Some(name))
        }
    };
    let outcome = rebuild(place, &args, &live, new.clone()).await;
    new.close().await;
    if let Some(name) = own {
        let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::raw_sql(drop).execute(&live.pool).await?;
    }
    outcome
}

async fn rebuild(place: &Place, args: &RebuildArgs, live: &Shard, new: PgPool) -> anyhow::Result<()> {
    let ledger = args.ledger;
    let rebuilding = Rebuilding::new(place, ledger, live.clone(), new).await?;
    let (of_live, of_log) = rebuilding.compare().await?;
    if of_live == of_log {
        println!("ledger {ledger} is what the log says: {of_log}");
    } else {
        println!("ledger {ledger} is {of_live}, and {of_log} by the log");
    }
    if args.verify {
        ensure!(of_live == of_log, "ledger {ledger} is not what the log says");
        return Ok(());
    }
    if of_live != of_log || args.always {
        let digest = rebuilding.swap().await?;
        println!("ledger {ledger} was put in place anew: {digest}");
    }
    Ok(())
}

impl<'a> Rebuilding<'a> {
    async fn new(place: &'a Place, ledger: i32, live: Shard, new: PgPool) -> anyhow::Result<Self> {
        let topics = place.topics_of_ledger().map(|(_, topic)| (topic, ledger));
        let catalog = (place.kafka.topics().of(Stream::Catalog), 0);
        Ok(Self {
            place,
            known: Known::from(crate::place::identity(&place.kafka).await?),
            ledger,
            live,
            new,
            sources: topics.into_iter().chain([catalog]).collect(),
        })
    }

    /// As if the shard had this ledger alone.
    fn map(&self) -> ShardMap {
        let elsewhere = i32::from(self.live.id == 0);
        let ledgers = 0..self.place.ledgers;
        let place = |it: i32| {
            if it == self.ledger {
                self.live.id
            } else {
                elsewhere
            }
        };
        ShardMap::from(&ShardMapChanged {
            version: self.place.map.version,
            placement: ledgers.map(place).collect(),
            shards: self.place.map.shards,
            ..ShardMapChanged::default()
        })
    }

    /// Projects on up to there.
    async fn reach(&self, placed: &[Placed]) -> anyhow::Result<()> {
        let own = placed
            .iter()
            .filter(|it| self.is_source(it))
            .cloned()
            .collect::<Vec<_>>();
        let positions: HashMap<Lane, i64> = positions(&self.place.kafka, &own);
        let scratch = Shard::new(self.live.id, self.new.clone());
        let (kafka, known) = (self.place.kafka.clone(), self.known.clone());
        let stop = CancellationToken::new();
        Ok(go_on(kafka, known, self.map(), scratch, positions, MAX_BATCH, stop).await?)
    }

    fn is_source(&self, placed: &Placed) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|(topic, partition)| *topic == placed.topic && *partition == placed.partition)
    }

    /// Digests of the live rows and of the new ones at one position, which both have come to while the live ones went
    /// on.
    async fn compare(&self) -> anyhow::Result<(Sha256Digest, Sha256Digest)> {
        let began = Snapshot::begin(&self.live.pool).await?.checkpoints().await?;
        println!("projecting ledger {} anew", self.ledger);
        schema::migrate(&self.new).await?;
        let made = Snapshot::begin(&self.new).await?.checkpoints().await?;
        ensure!(made.is_empty(), "the database for the new rows is not empty");
        keep_the_same(&self.live.pool, &self.new).await?;
        self.reach(&began).await?;
        keep_the_same(&self.live.pool, &self.new).await?;
        // What came meanwhile is little; and no snapshot of the live rows was held for long.
        let mut snapshot = Snapshot::begin(&self.live.pool).await?;
        let reached = snapshot.checkpoints().await?;
        let of_live = digest::digest_in(&mut snapshot, self.ledger).await?;
        drop(snapshot);
        self.reach(&reached).await?;
        Ok((of_live, digest::digest(&self.new, self.ledger).await?))
    }

    /// Puts the new rows in the place of the live ones. The projection of this ledger stands still meanwhile, and goes
    /// on from the same position.
    async fn swap(&self) -> anyhow::Result<Sha256Digest> {
        self.come_close().await?;
        make_room(&self.new, &self.live.pool, self.ledger).await?;
        let mut tx = self.live.pool.begin().await?;
        for setting in [
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout",
        ] {
            let unlimited = AssertSqlSafe(format!("SET LOCAL {setting} = 0"));
            sqlx::raw_sql(unlimited).execute(&mut *tx).await?;
        }
        let stopped = checkpoint::stop(&mut tx, &self.sources).await?;
        let retired = stopped.iter().any(|it| it.standing.retired_by_map.is_some());
        ensure!(!retired, "ledger {} has left shard {}", self.ledger, self.live.id);
        // No month is let go until the end.
        if let Some(oldest) = time_series::retained_from(&mut tx, AUDIT).await? {
            time_series::retire_before(&self.new, AUDIT, oldest, false).await?;
        }
        self.reach(&stopped).await?;
        let expected = digest::digest(&self.new, self.ledger).await?;
        let mut new = self.new.acquire().await?;
        for (stream, topic) in self.place.topics_of_ledger().iter().rev() {
            ledger_rows::delete(&mut tx, *stream, self.ledger).await?;
            checkpoint::clear_failure(&mut tx, topic, self.ledger).await?;
        }
        for (stream, _) in self.place.topics_of_ledger() {
            ledger_rows::copy(&mut new, &mut tx, stream, self.ledger).await?;
        }
        let found = digest::digest_within(&mut tx, self.ledger).await?;
        if found != expected {
            bail!("the new rows are {found} in their place and were {expected}: nothing was changed");
        }
        tx.commit().await?;
        Ok(found)
    }

    async fn come_close(&self) -> anyhow::Result<()> {
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
}

/// A database on the same server.
async fn beside(place: &Place, live: &Shard, name: &str) -> anyhow::Result<PgPool> {
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    let created = sqlx::raw_sql(create).execute(&live.pool).await;
    created.context("making a database beside the live one; `--scratch` names another")?;
    Ok(live.beside(name, &PoolSettings::operating().trusting(&place.trust))?)
}
