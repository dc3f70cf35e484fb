//! Months of audit rows come ahead of time and go when they are out of retention; neither shows in a digest.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike, Months, NaiveDate, Utc};
use common::history::{History, Mix};
use common::{VecLog, databases, empty};
use projector::{Ended, Projection, compare};
use read_model::digest::{DigestsAt, digests};
use read_model::time_series::{self, AUDIT, MonthPartitions, Retention};
use read_model::{PoolSettings, Shard, Shards, schema};
use schemas::UserId;
use service_kit::Readiness;
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

const LEDGERS: i32 = 2;
const HOUR: i64 = 3_600_000_000;
const MIX: Mix = Mix {
    users: 10,
    events: 800,
    catalog_every: 9,
};

/// About two years of it.
fn history(seed: u64) -> History {
    let mut history = History::new(seed, LEDGERS);
    history.step = 40 * HOUR;
    history
}

fn log(seed: u64) -> VecLog {
    history(seed).generate(MIX).build(seed, 16)
}

async fn project(log: &VecLog, shards: &Shards, audit_retention: Option<Retention>, batch_limit: usize) {
    let projection = Projection {
        audit_retention,
        stop_at: Some(log.ends()),
        batch_limit,
        ..Projection::new(log.clone(), VecLog::known(LEDGERS), shards, Readiness::default())
    };
    let endings = projection.run(CancellationToken::new()).await.unwrap();
    let all = endings.iter().all(|(_, _, ended)| *ended == Ended::Finished);
    assert!(all, "{endings:?}");
}

async fn digests_of(shard: &Shard) -> DigestsAt {
    digests(&shard.pool, &(0..LEDGERS).collect::<Vec<_>>())
        .await
        .unwrap()
}

/// Months that are partitions, and months whose tables stand alone.
async fn months(pool: &PgPool) -> [BTreeSet<String>; 2] {
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "SELECT right(relname, 7)::text, relispartition FROM pg_class
         WHERE relkind = 'r' AND relname ~ '^security_audit_log_\\d'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    [true, false].map(|attached| {
        let of_kind = tables.iter().filter(|(_, is)| *is == attached);
        of_kind.map(|(month, _)| month.clone()).collect()
    })
}

async fn oldest_row(pool: &PgPool) -> Option<NaiveDate> {
    sqlx::query_scalar("SELECT min(partition_date) FROM security_audit_log")
        .fetch_one(pool)
        .await
        .unwrap()
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap()
}

fn named(month: NaiveDate) -> String {
    month.format("%Y_%m").to_string()
}

/// The month, some months before that of the log's last event.
fn before_the_last(at: &DigestsAt, months: u32) -> NaiveDate {
    let last = at
        .checkpoints
        .iter()
        .filter_map(|it| it.checkpoint.updated_at)
        .max();
    first_of_month(last.unwrap().to_utc().date_naive()) - Months::new(months)
}

#[tokio::test(flavor = "multi_thread")]
async fn months_out_of_retention_go_and_a_rebuild_is_equal() {
    let (stack, dsns) = databases(2).await;
    let log = log(1);
    let shards = Shards::connect_lazy(&dsns[..1], &PoolSettings::projecting()).unwrap();
    let scratch = PoolSettings::projecting().pool(&dsns[1]).unwrap();
    let live = shards.get(0).unwrap();
    project(&log, &shards, None, 100).await;
    let all = digests_of(&live).await;
    assert_eq!(all.audit_from, None);
    let [attached, _] = months(&live.pool).await;

    let retention = |months, drop_detached| {
        Some(Retention {
            months,
            drop_detached,
        })
    };
    project(&log, &shards, retention(6, false), 100).await;
    let six = digests_of(&live).await;
    let oldest = before_the_last(&all, 6);
    assert_eq!(six.audit_from, Some(oldest));
    assert!(oldest_row(&live.pool).await >= Some(oldest));
    let [kept, detached] = months(&live.pool).await;
    assert!(detached.len() > 6 && detached.iter().all(|month| *month < named(oldest)));
    assert_eq!(kept.union(&detached).cloned().collect::<BTreeSet<_>>(), attached);

    // The way back leads through a rebuild.
    project(&log, &shards, retention(12, false), 100).await;
    assert_eq!(digests_of(&live).await, six, "what was let go does not come back");

    for (months_kept, dropping) in [(6, false), (2, true)] {
        project(&log, &shards, retention(months_kept, dropping), 100).await;
        empty(&scratch).await;
        let (known, map) = (VecLog::known(LEDGERS), (*shards.map()).clone());
        let other = log.interleaved(u64::from(months_kept), 7);
        let compared = compare(other, known, map, &live, &scratch, CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(compared.differing(), Vec::<i32>::new());
        assert_eq!(compared.live, compared.rebuilt);
        assert_eq!(compared.live.audit_from, Some(before_the_last(&all, months_kept)));
        let [_, left] = months(&scratch).await;
        assert!(left.is_empty(), "a rebuild makes no month only to detach it");
    }
    let [_, detached] = months(&live.pool).await;
    assert!(detached.is_empty(), "those that were kept before are dropped too");
    stack.shutdown().await.unwrap();
}

/// Waits until the partitions together have come so far.
async fn reach(pool: &PgPool, offsets: i64) {
    let reached = "SELECT coalesce(sum(next_offset), 0)::bigint FROM projection_checkpoint";
    while sqlx::query_scalar::<_, i64>(reached)
        .fetch_one(pool)
        .await
        .unwrap()
        < offsets
    {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn months_may_go_while_their_events_are_replayed() {
    let (stack, dsns) = databases(2).await;
    let log = log(2);
    let settings = PoolSettings::projecting();
    let shards = Shards::connect_lazy(&dsns[..1], &settings).unwrap();
    let reference = Shards::connect_lazy(&dsns[1..], &settings).unwrap();
    project(&log, &reference, None, 4096).await;
    let (live, reference) = (shards.get(0).unwrap(), reference.get(0).unwrap());
    let last = before_the_last(&digests_of(&reference).await, 0);
    schema::migrate(&live.pool).await.unwrap();

    let (pool, end) = (live.pool.clone(), log.ends().values().sum::<i64>());
    let going = async move {
        for months in (3..=24).rev() {
            reach(&pool, end * i64::from(24 - months) / 22).await;
            let oldest = last - Months::new(months);
            // Another may hold the lock that it does not wait for long.
            while time_series::retire_before(&pool, AUDIT, oldest, months % 2 == 0)
                .await
                .is_err()
            {}
        }
    };
    tokio::join!(project(&log, &shards, None, 3), going);

    time_series::retire_before(&reference.pool, AUDIT, last - Months::new(3), true)
        .await
        .unwrap();
    assert_eq!(digests_of(&live).await, digests_of(&reference).await);
    assert!(oldest_row(&live.pool).await >= Some(last - Months::new(3)));
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn months_stand_ready_and_none_comes_back() {
    let (stack, dsns) = databases(1).await;
    let pool = PoolSettings::projecting().pool(&dsns[0]).unwrap();
    schema::migrate(&pool).await.unwrap();
    let today = Utc::now().date_naive();
    let this_month = first_of_month(today);
    MonthPartitions::of(AUDIT)
        .ensure_ahead(&pool, today)
        .await
        .unwrap();
    let ahead: BTreeSet<String> = (0..=3).map(|n| named(this_month + Months::new(n))).collect();
    assert_eq!(months(&pool).await, [ahead, BTreeSet::new()]);

    time_series::retire_before(&pool, AUDIT, this_month + Months::new(2), false)
        .await
        .unwrap();
    time_series::retire_before(&pool, AUDIT, this_month, true)
        .await
        .unwrap();
    let [attached, left] = months(&pool).await;
    assert_eq!((attached.len(), left.len()), (2, 0), "it never moves back");
    for _ in 0..2 {
        MonthPartitions::of(AUDIT)
            .ensure_ahead(&pool, today)
            .await
            .unwrap();
        assert_eq!(months(&pool).await, [attached.clone(), BTreeSet::new()]);
    }
    let unknown = sqlx::query("SELECT ensure_month('users', now()::date)")
        .execute(&pool)
        .await;
    assert!(unknown.unwrap_err().to_string().contains("no time series users"));
    stack.shutdown().await.unwrap();
}

/// Rows of months that were let go that still tell a network or a user agent: of somebody, and of all others.
async fn told_by_months_let_go(pool: &PgPool, user: UserId) -> [i64; 2] {
    let [_, detached] = months(pool).await;
    let mut told = [0, 0];
    for month in detached {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE user_id = $1), count(*) FILTER (WHERE user_id <> $1)
             FROM security_audit_log_{month} WHERE ip_address IS NOT NULL OR user_agent IS NOT NULL"
        );
        let count = sqlx::query_as(AssertSqlSafe(sql)).bind(user.as_uuid());
        let (own, of_others): (i64, i64) = count.fetch_one(pool).await.unwrap();
        told = [told[0] + own, told[1] + of_others];
    }
    told
}

/// Of the rows of a user.
async fn count(pool: &PgPool, user: UserId, sql: &'static str) -> i64 {
    let count = sqlx::query_scalar(sql).bind(user.as_uuid());
    count.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_reaches_months_that_were_let_go() {
    const PASSKEYS: &str = "SELECT count(*) FROM user_passkeys WHERE user_id = $1 AND removed_at IS NULL";
    const NAMES: &str = "SELECT count(*) FROM user_passkeys WHERE user_id = $1 AND name <> ''";
    const TOLD: &str = "SELECT count(*) FROM security_audit_log
                        WHERE user_id = $1 AND (ip_address IS NOT NULL OR user_agent IS NOT NULL)";
    let (stack, dsns) = databases(2).await;
    let mut history = history(3);
    history.fill(MIX);
    let (erased, lane) = history.erase();
    let log = history.log.build(3, 16);
    let mut lanes = (*log.lanes).clone();
    lanes.get_mut(&lane).unwrap().pop();
    let before = VecLog {
        lanes: Arc::new(lanes),
        ..log.clone()
    };
    let shards = Shards::connect_lazy(&dsns[..1], &PoolSettings::projecting()).unwrap();
    let live = shards.get(0).unwrap();
    let six_months = Retention {
        months: 6,
        drop_detached: false,
    };
    project(&before, &shards, None, 100).await;
    project(&before, &shards, Some(six_months), 100).await;
    let [own, of_others] = told_by_months_let_go(&live.pool, erased).await;
    assert!(own > 0 && of_others > 0, "{own} rows, and {of_others} of others");
    assert!(count(&live.pool, erased, PASSKEYS).await > 0);

    project(&log, &shards, None, 100).await;
    assert_eq!(
        told_by_months_let_go(&live.pool, erased).await,
        [0, of_others],
        "and nobody else's"
    );
    for left in [PASSKEYS, NAMES, TOLD] {
        assert_eq!(count(&live.pool, erased, left).await, 0, "{left}");
    }
    let scratch = PoolSettings::projecting().pool(&dsns[1]).unwrap();
    let (known, map) = (VecLog::known(LEDGERS), (*shards.map()).clone());
    let compared = compare(log, known, map, &live, &scratch, CancellationToken::new()).await;
    assert_eq!(compared.unwrap().differing(), Vec::<i32>::new());

    // Of a ledger that leaves the shard, nobody would hear of erasures there any more.
    let mut connection = live.pool.acquire().await.unwrap();
    for ledger in 0..LEDGERS {
        time_series::erase_detached_ledger(&mut connection, ledger)
            .await
            .unwrap();
    }
    assert_eq!(told_by_months_let_go(&live.pool, erased).await, [0, 0]);
    drop(connection);
    stack.shutdown().await.unwrap();
}
