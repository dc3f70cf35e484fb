//! The same log gives the same rows, whatever the batches and the order between partitions.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use std::collections::BTreeMap;

use common::history::{History, Mix};
use common::{VecLog, databases, empty};
use projector::rebuild;
use read_model::digest::{DigestsAt, digests};
use read_model::{PoolSettings, Shard, ShardMap, digest};
use schemas::Sha256Digest;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const LEDGERS: i32 = 4;

async fn projected(log: &VecLog, pool: &PgPool, shard: i32, shards: i32, batch: usize) -> DigestsAt {
    empty(pool).await;
    let shard = Shard::new(shard, pool.clone());
    let map = ShardMap::new(0..shards);
    let (known, shutdown) = (VecLog::known(LEDGERS), CancellationToken::new());
    rebuild(log.clone(), known, map, shard, log.ends(), batch, shutdown)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_interleavings_do_not_show() {
    let (stack, dsns) = databases(1).await;
    let pool = PoolSettings::projecting().pool(&dsns[0]).unwrap();
    for seed in 0..3 {
        let mix = Mix {
            users: 20,
            events: 700,
            catalog_every: 9,
        };
        let log = History::new(seed, LEDGERS).generate(mix).build(seed, 16);
        let reference = projected(&log, &pool, 0, 1, 4096).await;
        for (order, batch) in [(1, 1), (2, 7), (3, 300), (4, 4096)] {
            let other = log.interleaved(seed * 100 + order, 1 + (order as usize) * 13);
            let again = projected(&other, &pool, 0, 1, batch).await;
            let differing: Vec<_> = again
                .ledgers
                .iter()
                .filter(|(l, d)| reference.ledgers[*l] != **d)
                .collect();
            assert_eq!(again.catalog, reference.catalog, "seed {seed}, batch {batch}");
            assert_eq!(
                again.catalog_audit, reference.catalog_audit,
                "seed {seed}, batch {batch}"
            );
            assert!(differing.is_empty(), "seed {seed}, batch {batch}: {differing:?}");
            assert_eq!(again.checkpoints, reference.checkpoints);
        }
    }
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_hold_together_what_one_holds_alone() {
    let (stack, dsns) = databases(3).await;
    let pools: Vec<_> = dsns
        .iter()
        .map(|dsn| PoolSettings::projecting().pool(dsn).unwrap())
        .collect();
    let mix = Mix {
        users: 30,
        events: 600,
        catalog_every: 10,
    };
    let log = History::new(42, LEDGERS).generate(mix).build(1, 20);
    let alone = projected(&log, &pools[0], 0, 1, 4096).await;
    let mut together: BTreeMap<i32, Sha256Digest> = BTreeMap::new();
    let mut audited = 0;
    for (shard, pool) in (0..).zip(&pools) {
        let part = projected(&log, pool, shard, 3, 100).await;
        assert_eq!(part.catalog, alone.catalog);
        together.extend(part.ledgers);
        let catalog_rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM security_audit_log WHERE ledger = -1")
                .fetch_one(pool)
                .await
                .unwrap();
        audited += i32::from(catalog_rows > 0);
    }
    assert_eq!(together, alone.ledgers);
    assert_eq!(audited, 1, "catalog events are told on one shard");
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_changes_the_digest() {
    let (stack, dsns) = databases(1).await;
    let pool = PoolSettings::projecting().pool(&dsns[0]).unwrap();
    let mix = Mix {
        users: 10,
        events: 100,
        catalog_every: 10,
    };
    let log = History::new(3, 1).generate(mix).build(1, 20);
    empty(&pool).await;
    let shard = Shard::new(0, pool.clone());
    let (map, shutdown) = (ShardMap::new([0]), CancellationToken::new());
    rebuild(
        log.clone(),
        VecLog::known(1),
        map,
        shard,
        log.ends(),
        50,
        shutdown,
    )
    .await
    .unwrap();
    let before = digest(&pool, 0).await.unwrap();
    sqlx::query("UPDATE user_roles SET is_active = true WHERE NOT is_active")
        .execute(&pool)
        .await
        .unwrap();
    assert_ne!(digest(&pool, 0).await.unwrap(), before);
    let before = digests(&pool, &[0]).await.unwrap();
    sqlx::query("UPDATE security_audit_log SET actor = 'nobody' WHERE ledger = -1")
        .execute(&pool)
        .await
        .unwrap();
    let after = digests(&pool, &[0]).await.unwrap();
    assert_eq!(after.catalog, before.catalog);
    assert_ne!(after.catalog_audit, before.catalog_audit);
    stack.shutdown().await.unwrap();
}
