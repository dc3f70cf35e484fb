//! What cannot be applied halts its partition there; what another applied is never applied twice.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use common::history::{History, Mix};
use common::{LogBuilder, VecLog, databases, empty};
use projector::{Ended, Ending, Lane, Projection};
use read_model::checkpoint;
use read_model::digest::{DigestsAt, digests};
use read_model::queries::{
    AuditFilter, AuditOf, Snapshot, audit, grants_of_user, sessions_of_user, user_by_id,
};
use read_model::{PoolSettings, Shards, schema};
use schemas::user::{RoleGranted, UserEvent};
use schemas::{Event, RoleId, Stream, UserId};
use service_kit::Readiness;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const USERS: Lane = (Stream::Users, 0);
const MIX: Mix = Mix {
    users: 12,
    events: 150,
    catalog_every: 10,
};

fn projection(log: &VecLog, dsn: &str, readiness: Readiness) -> (Projection<VecLog>, PgPool) {
    let shards = Shards::connect_lazy(&[dsn], &PoolSettings::projecting()).unwrap();
    let pool = shards.get(0).unwrap().pool.clone();
    let mut projection = Projection::new(log.clone(), VecLog::known(1), &shards, readiness);
    projection.stop_at = Some(log.ends());
    (projection, pool)
}

async fn run(log: &VecLog, dsn: &str) -> (Vec<Ending>, Readiness, PgPool) {
    let readiness = Readiness::default();
    let (projection, pool) = projection(log, dsn, readiness.clone());
    (
        projection.run(CancellationToken::new()).await.unwrap(),
        readiness,
        pool,
    )
}

fn ended(endings: &[Ending], lane: Lane) -> Ended {
    endings.iter().find(|(_, it, _)| *it == lane).unwrap().2
}

async fn failure(pool: &PgPool) -> (String, i64, String) {
    sqlx::query_as("SELECT topic, at_offset, reason FROM projection_failure")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn next_offset(pool: &PgPool) -> i64 {
    user_checkpoint(pool).await.unwrap()
}

/// None while the database, its tables or the row are not there.
async fn user_checkpoint(pool: &PgPool) -> Option<i64> {
    let sql = "SELECT next_offset FROM projection_checkpoint WHERE topic = 'test.users' AND partition = 0";
    sqlx::query_scalar(sql).fetch_one(pool).await.ok()
}

async fn until(is_so: impl AsyncFn() -> bool) {
    while !is_so().await {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Digests once everything is applied.
async fn filled(log: &VecLog, pool: &PgPool) -> DigestsAt {
    let stands = async |(&(stream, partition), &end): (&Lane, &i64)| {
        let topic = format!("test.{}", stream.name());
        let found = checkpoint::load(pool, &topic, partition).await;
        found.is_ok_and(|it| it.next_offset == end)
    };
    let ends = log.ends();
    until(async || {
        for end in &ends {
            if !stands(end).await {
                return false;
            }
        }
        true
    })
    .await;
    digests(pool, &[0]).await.unwrap()
}

/// Projects `log` up to a moment in its midst, and keeps a copy of the database as `older`. All lanes
/// stop at one moment: the halves of the partitions must not rest on each other's missing ones.
async fn fill_half(log: &VecLog, dsn: &str, admin: &PgPool) -> i64 {
    let (mut half, pool) = projection(log, dsn, Readiness::default());
    let at = |record: &event_log::Record| {
        Event::decode_as(record.event_type, &record.value[5..])
            .unwrap()
            .meta
            .occurred_at
    };
    let moment = at(&log.lanes[&USERS][log.lanes[&USERS].len() / 2]);
    let ends = log.ends();
    let until = |(lane, records): (&Lane, &Vec<event_log::Record>)| {
        let first_after = records.iter().find(|record| at(record) >= moment);
        (*lane, first_after.map_or(ends[lane], |record| record.offset))
    };
    half.stop_at = Some(log.lanes.iter().map(until).collect());
    let endings = half.run(CancellationToken::new()).await.unwrap();
    assert!(
        endings.iter().all(|(_, _, it)| *it == Ended::Finished),
        "{endings:?}"
    );
    let reached = next_offset(&pool).await;
    pool.close().await;
    sqlx::raw_sql("CREATE DATABASE older TEMPLATE rolecall_shard_00")
        .execute(admin)
        .await
        .unwrap();
    reached
}

/// Puts the database `older` in the shard's place.
async fn set_back(admin: &PgPool) {
    for sql in [
        "ALTER DATABASE rolecall_shard_00 ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'rolecall_shard_00'",
        "ALTER DATABASE rolecall_shard_00 RENAME TO newer",
        "ALTER DATABASE older RENAME TO rolecall_shard_00",
    ] {
        sqlx::raw_sql(sql).execute(admin).await.unwrap();
    }
}

fn history(seed: u64) -> LogBuilder {
    History::new(seed, 1).generate(MIX)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_halts_its_partition_alone() {
    let (stack, dsns) = databases(1).await;
    let mut builder = history(1);
    let records = builder.lanes.get_mut(&USERS).unwrap();
    let removed = records.remove(100);
    let after = records[100].offset;
    let log = builder.build(1, 30);
    let (endings, readiness, pool) = run(&log, &dsns[0]).await;
    assert_eq!(ended(&endings, USERS), Ended::Halted);
    assert_eq!(ended(&endings, (Stream::Catalog, 0)), Ended::Finished);
    assert_eq!(ended(&endings, (Stream::Identifiers, 0)), Ended::Finished);
    let (topic, offset, reason) = failure(&pool).await;
    assert_eq!((topic.as_str(), offset), ("test.users", after));
    assert!(reason.contains("chain broken"), "{reason}");
    assert!(!readiness.is_ready());
    assert!(next_offset(&pool).await <= removed.offset);
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_halts_exactly_there() {
    let (stack, dsns) = databases(1).await;
    let mut builder = history(2);
    let records = builder.lanes.get(&USERS).unwrap();
    let user = String::from_utf8(records[0].key.clone()).unwrap();
    let (count, last) = (records.len() as i64, records.last().unwrap().offset);
    let mut meta = schemas::Event::decode_as(records[0].event_type, &records[0].value[5..])
        .unwrap()
        .meta;
    (meta.event_id, meta.sequence) = (schemas::EventId::new_v7(), 1000);
    let unknown = RoleGranted::of(RoleId::new_v7());
    let bad = builder.append(USERS, meta, &Event::User(UserEvent::RoleGranted(unknown)), 0);
    let log = builder.build(1, 500);
    let (endings, _, pool) = run(&log, &dsns[0]).await;
    assert_eq!(ended(&endings, USERS), Ended::Halted);
    let (_, offset, reason) = failure(&pool).await;
    assert_eq!(offset, bad);
    assert!(reason.contains("user_roles_role_id_fkey"), "{reason}");
    assert_eq!(
        next_offset(&pool).await,
        last + 1,
        "everything before it is applied"
    );
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM security_audit_log WHERE ledger = 0")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(audited, count);

    let mut snapshot = Snapshot::begin(&pool).await.unwrap();
    let id: UserId = user.parse().unwrap();
    let row = user_by_id(&mut snapshot, id).await.unwrap().unwrap();
    assert!(row.version < 1000);
    sessions_of_user(&mut snapshot, id, 10).await.unwrap();
    grants_of_user(&mut snapshot, id).await.unwrap();
    let (of, everything) = (AuditOf::User(id), AuditFilter::default());
    let all = audit(&mut snapshot, of, &everything, 1000).await.unwrap();
    let first = audit(&mut snapshot, of, &everything, 3).await.unwrap();
    let behind = AuditFilter {
        before: Some(first.last().unwrap().cursor()),
        ..AuditFilter::default()
    };
    let rest = audit(&mut snapshot, of, &behind, 1000).await.unwrap();
    assert_eq!([first, rest].concat(), all);
    assert_eq!(all.last().unwrap().event_type, "user.registered");
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_apply_each_event_once() {
    let (stack, dsns) = databases(2).await;
    let log = history(3).build(3, 5);
    let (mut first, pool) = projection(&log, &dsns[0], Readiness::default());
    let (mut second, _) = projection(&log.interleaved(9, 3), &dsns[0], Readiness::default());
    (first.batch_limit, second.batch_limit) = (3, 4);
    let (first, second) = tokio::join!(
        first.run(CancellationToken::new()),
        second.run(CancellationToken::new())
    );
    let all = [first.unwrap(), second.unwrap()].concat();
    assert!(all.iter().all(|(_, _, it)| *it == Ended::Finished), "{all:?}");
    let (_, _, reference) = run(&log, &dsns[1]).await;
    assert_eq!(
        digests(&pool, &[0]).await.unwrap(),
        digests(&reference, &[0]).await.unwrap()
    );
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_log_is_refused() {
    let (stack, dsns) = databases(1).await;
    let log = history(4).build(1, 50);
    let (_, _, pool) = run(&log, &dsns[0]).await;
    let (mut other, _) = projection(&log, &dsns[0], Readiness::default());
    other.known.log_id = schemas::LogId::new_v7();
    let error = other.run(CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("not shard 0 of log"), "{error}");
    empty(&pool).await;
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_goes_away_is_waited_for() {
    let (stack, dsns) = databases(1).await;
    let log = History::new(5, 1)
        .generate(Mix {
            users: 30,
            events: 1500,
            catalog_every: 10,
        })
        .build(1, 2);
    let readiness = Readiness::default();
    let (mut slow, pool) = projection(&log, &dsns[0], readiness.clone());
    slow.batch_limit = 1;
    let running = tokio::spawn(slow.run(CancellationToken::new()));
    until(async || user_checkpoint(&pool).await >= Some(10)).await;
    stack.postgres().kill().await.unwrap();
    let stuck = |readiness: &Readiness| {
        let mut reasons = readiness.reasons().into_iter();
        reasons.any(|it| it.reason.contains("waiting for the shard"))
    };
    until(async || stuck(&readiness)).await;
    stack.postgres().restart().await.unwrap();
    let endings = running.await.unwrap().unwrap();
    assert!(
        endings.iter().all(|(_, _, it)| *it == Ended::Finished),
        "{endings:?}"
    );
    assert!(readiness.is_ready(), "{:?}", readiness.reasons());
    let killed = digests(&pool, &[0]).await.unwrap();
    empty(&pool).await;
    let (_, _, pool) = run(&log, &dsns[0]).await;
    assert_eq!(digests(&pool, &[0]).await.unwrap(), killed);
    stack.shutdown().await.unwrap();
}

/// Replaces the database under a running projector by an older copy of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_set_back_is_filled_again() {
    let (stack, dsns) = databases(2).await;
    let log = History::new(6, 1)
        .generate(Mix {
            users: 30,
            events: 1500,
            catalog_every: 10,
        })
        .build(1, 20);
    let admin = PoolSettings::reading("test").pool(&dsns[1]).unwrap();
    let before = fill_half(&log, &dsns[0], &admin).await;

    let (mut rest, pool) = projection(&log, &dsns[0], Readiness::default());
    rest.batch_limit = 1;
    let running = tokio::spawn(rest.run(CancellationToken::new()));
    until(async || user_checkpoint(&pool).await >= Some(before + 10)).await;
    set_back(&admin).await;
    let endings = running.await.unwrap().unwrap();
    assert!(
        endings.iter().all(|(_, _, it)| *it == Ended::Finished),
        "{endings:?}"
    );
    let filled_again = digests(&pool, &[0]).await.unwrap();
    empty(&pool).await;
    let (_, _, pool) = run(&log, &dsns[0]).await;
    assert_eq!(digests(&pool, &[0]).await.unwrap(), filled_again);
    stack.shutdown().await.unwrap();
}

/// No event comes any more, so no worker would notice by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_quiet_shard_shows_and_is_mended() {
    let (stack, dsns) = databases(2).await;
    let log = history(7).build(1, 10);
    let admin = PoolSettings::reading("test").pool(&dsns[1]).unwrap();
    fill_half(&log, &dsns[0], &admin).await;
    let readiness = Readiness::default();
    let (mut endless, pool) = projection(&log, &dsns[0], readiness.clone());
    endless.stop_at = None;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(endless.run(shutdown.clone()));
    let before = filled(&log, &pool).await;

    set_back(&admin).await;
    assert_eq!(filled(&log, &pool).await, before, "an older copy");
    empty(&pool).await;
    assert_eq!(filled(&log, &pool).await, before, "made anew");
    until(async || readiness.is_ready()).await;
    stack.postgres().kill().await.unwrap();
    until(async || !readiness.is_ready()).await;
    stack.postgres().restart().await.unwrap();
    until(async || readiness.is_ready()).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    stack.shutdown().await.unwrap();
}

/// Else it would be tried again at the same size for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_many_users_rights_is_not_cut_short() {
    let (stack, dsns) = databases(1).await;
    let settings = PoolSettings {
        statement_timeout: std::time::Duration::from_millis(500),
        ..PoolSettings::projecting()
    };
    let shards = Shards::connect_lazy(&dsns, &settings).unwrap();
    let log = history(9).build(1, 4096);
    let patient = PoolSettings::projecting().pool(&dsns[0]).unwrap();
    schema::migrate(&patient).await.unwrap();
    sqlx::raw_sql(
        "ALTER FUNCTION refresh_user_role_cache_of_roles RENAME TO quickly;
         CREATE FUNCTION refresh_user_role_cache_of_roles(changed_roles uuid[]) RETURNS void LANGUAGE sql
         AS 'SELECT pg_sleep(1); SELECT quickly(changed_roles)'",
    )
    .execute(&patient)
    .await
    .unwrap();
    let mut slow = Projection::new(log.clone(), VecLog::known(1), &shards, Readiness::default());
    slow.stop_at = Some(log.ends());
    let endings = slow.run(CancellationToken::new()).await.unwrap();
    assert!(
        endings.iter().all(|(_, _, it)| *it == Ended::Finished),
        "{endings:?}"
    );
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_an_end_ends_when_the_catalog_is_damaged() {
    let (stack, dsns) = databases(1).await;
    let mut builder = history(8);
    builder.lanes.get_mut(&(Stream::Catalog, 0)).unwrap().remove(3);
    let log = builder.build(1, 30);
    let (endings, _, pool) = run(&log, &dsns[0]).await;
    assert_eq!(ended(&endings, (Stream::Catalog, 0)), Ended::Halted);
    let (topic, _, reason) = failure(&pool).await;
    assert_eq!(topic, "test.catalog");
    assert!(reason.contains("chain broken"), "{reason}");
    stack.shutdown().await.unwrap();
}
