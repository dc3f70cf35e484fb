//! Rebuilding all shards from the log's start, against a bare COPY of the rows that come out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use event_log::identity::await_log;
use event_log::{HighWatermarks, KafkaConfig};
use futures::TryStreamExt;
use local_stack::Stack;
use projector::{Ended, Known, Lane, Projection};
use read_model::time_series::{self, MonthPartitions};
use read_model::{PoolSettings, Shards, schema};
use schemas::Stream;
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use tokio_util::sync::CancellationToken;

use crate::report::{Row, Section};
use crate::seed::{LEDGERS, People};
use crate::stats::{count, median};
use crate::world::databases;

const ROUNDS: usize = 3;
const GOAL: f64 = 100_000.0;
/// Bytes of COPY data handed to the server at once.
const CHUNK: usize = 256 * 1024;
/// Databases that are filled side by side: as many as there are cores.
const COPIES_AT_ONCE: usize = 2;

/// A table's rows as COPY gives them, in binary.
struct Dump {
    table: String,
    rows: i64,
    data: Vec<u8>,
}

pub async fn run(stack: &Stack, prefix: &str, people: &People) -> Result<Section> {
    let kafka = KafkaConfig::plain(stack.kafka_bootstrap(), prefix);
    let known = Known::from(await_log(&kafka).await?);
    let ends = ends(&kafka).await?;
    let (mut projected, mut copied, mut ratios) = (vec![], vec![], vec![]);
    let mut rows_copied = 0;
    for _ in 0..ROUNDS {
        let shards = empty_shards(stack, "bench_replay").await?;
        let took = project(&kafka, &known, &shards, &ends).await?;
        let mut dumps = Vec::new();
        for shard in shards.iter() {
            dumps.push(dump(&shard.pool).await?);
        }
        close(&shards).await;
        rows_copied = dumps.iter().flatten().map(|dump| dump.rows).sum();
        let fresh = empty_shards(stack, "bench_copy").await?;
        let bare = copy(&fresh, &dumps).await?;
        close(&fresh).await;
        projected.push(took.as_secs_f64());
        copied.push(bare.as_secs_f64());
        ratios.push(took.as_secs_f64() / bare.as_secs_f64());
    }
    let (took, bare) = (median(&projected), median(&copied));
    let events = people.events as f64;
    let rate = events / took;
    let rows = vec![
        Row::new(
            format!("replay of {} events into 16 shards, events/s", count(events)),
            count(rate),
        )
        .goal(">= 100,000", rate >= GOAL),
        Row::new("the same, time", format!("{took:.2} s"))
            .against(format!(
                "bare COPY of the {} rows: {bare:.2} s",
                count(rows_copied as f64)
            ))
            .ratio(median(&ratios)),
    ];
    Ok(Section { name: "replay", rows })
}

async fn ends(kafka: &KafkaConfig) -> Result<HashMap<Lane, i64>> {
    let ledgers = (0..LEDGERS).flat_map(|ledger| [(Stream::Users, ledger), (Stream::Identifiers, ledger)]);
    let lanes: Vec<Lane> = ledgers.chain([(Stream::Catalog, 0)]).collect();
    let ends = HighWatermarks::new(kafka, lanes)?.latest().await?;
    Ok(ends.iter().copied().collect())
}

async fn empty_shards(stack: &Stack, name: &str) -> Result<Shards> {
    let dsns = databases(stack, name, stack.shard_dsns().len()).await?;
    let shards = Shards::connect_lazy(&dsns, &PoolSettings::projecting())?;
    for shard in shards.iter() {
        schema::migrate(&shard.pool).await?;
    }
    Ok(shards)
}

async fn close(shards: &Shards) {
    for shard in shards.iter() {
        shard.pool.close().await;
    }
}

async fn project(
    kafka: &KafkaConfig,
    known: &Known,
    shards: &Shards,
    ends: &HashMap<Lane, i64>,
) -> Result<Duration> {
    let readiness = service_kit::Readiness::default();
    let mut projection = Projection::new(kafka.clone(), known.clone(), shards, readiness);
    projection.stop_at = Some(ends.clone());
    let began = Instant::now();
    let endings = projection.run(CancellationToken::new()).await?;
    let took = began.elapsed();
    ensure!(
        endings.iter().all(|(_, _, ended)| *ended == Ended::Finished),
        "not finished: {endings:?}"
    );
    Ok(took)
}

/// All tables with rows in them, those of audit months by themselves.
async fn dump(pool: &PgPool) -> Result<Vec<Dump>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
           AND relname NOT IN ('_sqlx_migrations', 'projection_identity', 'projection_checkpoint', 'time_series')
         ORDER BY oid",
    )
    .fetch_all(pool)
    .await?;
    let mut dumps = Vec::new();
    for table in tables {
        let counting = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(counting).fetch_one(pool).await?;
        if rows > 0 {
            let statement = format!("COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)");
            let data = pool
                .copy_out_raw(&statement)
                .await?
                .try_fold(Vec::new(), async |mut all, bytes| {
                    all.extend_from_slice(&bytes);
                    Ok(all)
                });
            dumps.push(Dump {
                table,
                rows,
                data: data.await?,
            });
        }
    }
    Ok(dumps)
}

async fn copy(shards: &Shards, dumps: &[Vec<Dump>]) -> Result<Duration> {
    for shard in shards.iter() {
        audit_months(&shard.pool).await?;
    }
    let began = Instant::now();
    futures::stream::iter(shards.iter().zip(dumps).map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(COPIES_AT_ONCE, async |(shard, dumps)| {
            for dump in dumps {
                let statement = format!("COPY {} FROM STDIN (FORMAT binary)", dump.table);
                let mut sink = shard.pool.copy_in_raw(&statement).await?;
                for chunk in dump.data.chunks(CHUNK) {
                    sink.send(chunk).await?;
                }
                let rows = sink.finish().await?;
                ensure!(
                    i64::try_from(rows)? == dump.rows,
                    "{rows} of {} rows of {}",
                    dump.rows,
                    dump.table
                );
            }
            Ok(())
        })
        .await?;
    Ok(began.elapsed())
}

/// The log is of today: its audit rows need today's month.
async fn audit_months(pool: &PgPool) -> Result<()> {
    let today = chrono::Utc::now().date_naive();
    MonthPartitions::of(time_series::AUDIT)
        .ensure(pool, [today])
        .await
        .context("making the audit month")
}
