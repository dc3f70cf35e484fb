//! Copies of a ledger on several shards: each is kept up, held and given up as the shard map says.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::history::{History, Mix};
use common::{VecLog, databases, empty};
use projector::{MAX_BATCH, Projection, rebuild};
use read_model::checkpoint::{self, Checkpoint, TakenUp};
use read_model::queries::Snapshot;
use read_model::{Error, PoolSettings, Shard, ShardMap, Shards, digest, ledger_rows, schema};
use schemas::catalog::{LedgerCopy, ShardMapChanged};
use schemas::{Sha256Digest, Stream};
use service_kit::Readiness;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;

const LEDGERS: i32 = 4;
const USERS: (Stream, &str) = (Stream::Users, "test.users");

fn log(seed: u64) -> VecLog {
    let mix = Mix {
        users: 30,
        events: 900,
        catalog_every: 9,
    };
    History::new(seed, LEDGERS).generate(mix).build(seed, 20)
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not come to be"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn at(next_offset: i64) -> Checkpoint {
    Checkpoint {
        next_offset,
        ..Checkpoint::START
    }
}

async fn advance(pool: &PgPool, from: i64, to: i64) -> Result<(), Error> {
    let mut tx = pool.begin().await.unwrap();
    checkpoint::advance(&mut tx, USERS.1, 1, from, &at(to)).await?;
    tx.commit().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_held_goes_so_far_and_one_that_is_retired_goes_nowhere() {
    let (stack, dsns) = databases(1).await;
    let pool = PoolSettings::projecting().pool(&dsns[0]).unwrap();
    schema::migrate(&pool).await.unwrap();
    let take_up = async |version, filling| {
        checkpoint::take_up(&pool, USERS, 1, version, filling)
            .await
            .unwrap()
    };
    assert_eq!(take_up(2, true).await, TakenUp::At(Checkpoint::START));

    assert_eq!(
        checkpoint::hold(&pool, USERS.1, 1, Some(5), 60.0).await.unwrap(),
        0
    );
    let held = advance(&pool, 0, 6).await;
    assert!(matches!(held, Err(Error::Held { at: 5, .. })), "{held:?}");
    advance(&pool, 0, 5).await.unwrap();
    assert_eq!(checkpoint::hold(&pool, USERS.1, 1, None, 60.0).await.unwrap(), 5);
    assert!(matches!(
        advance(&pool, 5, 6).await,
        Err(Error::Held { at: 5, .. })
    ));
    checkpoint::release(&pool, USERS.1, 1).await.unwrap();
    advance(&pool, 5, 6).await.unwrap();
    // Whoever held it is gone.
    checkpoint::hold(&pool, USERS.1, 1, None, -1.0).await.unwrap();
    advance(&pool, 6, 7).await.unwrap();

    let topics = [USERS.1.to_owned()];
    let retire = async |kept: &[i32], version| {
        checkpoint::retire_others(&pool, &topics, kept, version)
            .await
            .unwrap()
    };
    assert_eq!(retire(&[1], 3).await, []);
    assert_eq!(
        retire(&[], 2).await,
        [],
        "by the map that wants it, or an older one"
    );
    assert_eq!(retire(&[], 3).await, [(USERS.1.to_owned(), 1)]);
    assert!(matches!(advance(&pool, 7, 8).await, Err(Error::Fenced { .. })));
    assert_eq!(
        take_up(2, true).await,
        TakenUp::Retired,
        "by who has not heard of it"
    );
    assert_eq!(take_up(4, true).await, TakenUp::At(Checkpoint::START), "anew");
    let placed = Snapshot::begin(&pool).await.unwrap().checkpoints().await.unwrap();
    assert!(!placed[0].standing.serves(3) && placed[0].standing.serves(4));
    stack.shutdown().await.unwrap();
}

/// What each ledger is by the log.
async fn by_the_log(log: &VecLog, pool: &PgPool) -> BTreeMap<i32, Sha256Digest> {
    empty(pool).await;
    let (shard, map) = (Shard::new(0, pool.clone()), ShardMap::new([0]));
    let (known, stop) = (VecLog::known(LEDGERS), CancellationToken::new());
    let rebuilt = rebuild(log.clone(), known, map, shard, log.ends(), MAX_BATCH, stop).await;
    rebuilt.unwrap().ledgers
}

/// Nothing while there are no tables.
async fn digests_of(pool: &PgPool, ledgers: &[i32]) -> BTreeMap<i32, Sha256Digest> {
    let mut found = BTreeMap::new();
    for &ledger in ledgers {
        if let Ok(digest) = digest(pool, ledger).await {
            found.insert(ledger, digest);
        }
    }
    found
}

/// The ledgers that are retired on a shard.
async fn retired(pool: &PgPool) -> Vec<i32> {
    let sql = "SELECT partition FROM projection_checkpoint
               WHERE topic = 'test.users' AND retired_by_map IS NOT NULL ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_projector_follows_each_map_until_every_ledger_has_moved() {
    let (stack, dsns) = databases(3).await;
    let shards = Shards::connect_lazy(&dsns[..2], &PoolSettings::projecting()).unwrap();
    let log = log(21);
    let expected = by_the_log(&log, &PoolSettings::projecting().pool(&dsns[2]).unwrap()).await;
    let (readiness, stop) = (Readiness::default(), CancellationToken::new());
    let projection = Projection::new(log.clone(), VecLog::known(LEDGERS), &shards, readiness.clone());
    let running = tokio::spawn(projection.run(stop.clone()));
    let [first, second] = [0, 1].map(|id| shards.get(id).unwrap().pool);
    let all: Vec<i32> = (0..LEDGERS).collect();
    let map = |version, place: i32, filling: Option<i32>, leaving: Option<i32>| {
        let copies = |shard: Option<i32>| -> Vec<LedgerCopy> {
            let all = all.iter().filter_map(|&ledger| {
                Some(LedgerCopy {
                    ledger,
                    shard: shard?,
                })
            });
            all.collect()
        };
        ShardMapChanged {
            version,
            placement: vec![place; all.len()],
            shards: 2,
            filling: copies(filling),
            leaving: copies(leaving),
        }
    };
    shards.take_map(&map(1, 0, None, None));
    until(async || readiness.is_ready() && digests_of(&first, &all).await == expected).await;
    shards.take_map(&map(2, 0, Some(1), None));
    until(async || digests_of(&second, &all).await == expected).await;
    assert_eq!(digests_of(&first, &all).await, expected);
    shards.take_map(&map(3, 1, None, Some(0)));
    shards.take_map(&map(4, 1, None, None));
    until(async || retired(&first).await == all && readiness.is_ready()).await;
    assert_eq!(retired(&second).await, Vec::<i32>::new());
    for (stream, topic) in [USERS, (Stream::Identifiers, "test.identifiers")] {
        for ledger in &all {
            let place = (stream, topic);
            assert!(checkpoint::empty_retired(&first, place, *ledger).await.unwrap());
            assert!(!checkpoint::empty_retired(&second, place, *ledger).await.unwrap());
        }
        for table in ledger_rows::tables(stream) {
            let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE ledger >= 0"));
            let left: i64 = sqlx::query_scalar(count).fetch_one(&first).await.unwrap();
            assert_eq!(left, 0, "{table}");
        }
    }
    // And back, where they lay before.
    shards.take_map(&map(5, 1, Some(0), None));
    until(async || digests_of(&first, &all).await == expected).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    stack.shutdown().await.unwrap();
}

/// It may never read the event that told of it: the shard's catalog stands behind that.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_takes_a_shard_up_goes_by_the_map_that_was_applied_there() {
    let (stack, dsns) = databases(2).await;
    let shards = Shards::connect_lazy(&dsns, &PoolSettings::projecting()).unwrap();
    let log = log(22);
    let applied = ShardMapChanged {
        version: 7,
        placement: vec![1; LEDGERS as usize],
        shards: 2,
        ..ShardMapChanged::default()
    };
    let pool = shards.get(1).unwrap().pool;
    schema::migrate(&pool).await.unwrap();
    sqlx::query("INSERT INTO shard_map (map) VALUES ($1)")
        .bind(Json(&applied))
        .execute(&pool)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let projection = Projection::new(log.clone(), VecLog::known(LEDGERS), &shards, Readiness::default());
    let running = tokio::spawn(projection.run(stop.clone()));
    let users = log
        .ends()
        .into_iter()
        .filter(|((stream, _), _)| *stream == Stream::Users);
    let ends: BTreeMap<i32, i64> = users.map(|((_, partition), end)| (partition, end)).collect();
    until(async || {
        let sql = "SELECT partition, next_offset FROM projection_checkpoint WHERE topic = 'test.users'";
        let found: Vec<(i32, i64)> = sqlx::query_as(sql).fetch_all(&pool).await.unwrap();
        found.into_iter().collect::<BTreeMap<_, _>>() == ends
    })
    .await;
    assert_eq!(shards.map().version(), 7);
    stop.cancel();
    running.await.unwrap().unwrap();
    stack.shutdown().await.unwrap();
}
