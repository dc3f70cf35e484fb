//! Whatever is wrong with what a shard has by the catalog's events, a projection beside it puts it right.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use common::history::{History, Mix};
use common::{VecLog, databases, empty};
use projector::projections::{RowError, replace_catalog};
use projector::{MAX_BATCH, rebuild};
use read_model::digest::{CatalogPart, catalog_digests, catalog_digests_within, digests};
use read_model::{Error, PoolSettings, Shard, ShardMap};
use schemas::catalog::ShardMapChanged;
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

const LEDGERS: i32 = 4;

/// What is wrong then, and the part of it.
const DAMAGES: [(CatalogPart, &str); 8] = [
    // Two living roles have each other's names.
    (
        CatalogPart::Roles,
        "CREATE TEMP TABLE two AS SELECT id, name, row_number() OVER (ORDER BY id) AS n FROM roles
             WHERE deleted_at IS NULL ORDER BY id LIMIT 2;
         UPDATE roles SET name = 'between' WHERE id = (SELECT id FROM two WHERE n = 1);
         UPDATE roles SET name = (SELECT name FROM two WHERE n = 1) WHERE id = (SELECT id FROM two WHERE n = 2);
         UPDATE roles SET name = (SELECT name FROM two WHERE n = 2) WHERE id = (SELECT id FROM two WHERE n = 1);
         DROP TABLE two",
    ),
    (
        CatalogPart::Roles,
        "UPDATE roles SET parent_role_id = NULL, level = 0, updated_at = now()",
    ),
    (CatalogPart::Roles, "UPDATE roles SET deleted_at = now()"),
    (
        CatalogPart::Roles,
        "UPDATE permissions SET name = name || '-forged', resource = 'everything'",
    ),
    (
        CatalogPart::Roles,
        "DELETE FROM role_permissions; DELETE FROM permissions",
    ),
    (
        CatalogPart::Roles,
        "INSERT INTO roles (id, name, is_system_role, level, created_at, updated_at)
         VALUES (gen_random_uuid(), 'forged', true, 0, now(), now());
         INSERT INTO permissions (id, name, resource, action, is_dangerous, created_at)
         VALUES (gen_random_uuid(), 'forged', 'everything', 'do', false, now());
         INSERT INTO role_permissions (id, role_id, permission_id, granted_at)
         SELECT gen_random_uuid(), r.id, p.id, now() FROM roles r, permissions p WHERE p.name = 'forged'",
    ),
    (
        CatalogPart::Audit,
        "UPDATE security_audit_log SET actor = 'nobody' WHERE ledger = -1",
    ),
    (
        CatalogPart::Placement,
        "INSERT INTO shard_map (map) VALUES ('{\"version\": 9, \"placement\": [0, 0, 0, 0], \"shards\": 1}')",
    ),
];

fn log() -> VecLog {
    let mix = Mix {
        users: 30,
        events: 900,
        catalog_every: 9,
    };
    History::new(31, LEDGERS).generate(mix).build(31, 20)
}

async fn projected(log: &VecLog, pool: &PgPool, map: ShardMap) {
    empty(pool).await;
    let (known, shard) = (VecLog::known(LEDGERS), Shard::new(0, pool.clone()));
    let stop = CancellationToken::new();
    rebuild(log.clone(), known, map, shard, log.ends(), MAX_BATCH, stop)
        .await
        .unwrap();
}

/// As if all ledgers lay elsewhere.
fn without_ledgers() -> ShardMap {
    ShardMap::from(&ShardMapChanged {
        version: 1,
        placement: vec![1; LEDGERS as usize],
        shards: 2,
        ..ShardMapChanged::default()
    })
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_catalog_is_put_right_with_what_is_computed_from_it() {
    let (stack, dsns) = databases(2).await;
    let pool = |dsn: &String| PoolSettings::projecting().pool(dsn).unwrap();
    let (live, new, log) = (pool(&dsns[0]), pool(&dsns[1]), log());
    projected(&log, &live, ShardMap::new([0])).await;
    projected(&log, &new, without_ledgers()).await;
    let ledgers: Vec<i32> = (0..LEDGERS).collect();
    let right = digests(&live, &ledgers).await.unwrap();
    assert_eq!(catalog_digests(&new).await.unwrap(), right.of_catalog());
    for (part, damage) in DAMAGES {
        run(&live, damage).await;
        run(
            &live,
            "SELECT refresh_user_role_cache(ARRAY(SELECT id FROM users))",
        )
        .await;
        let mut tx = live.begin().await.unwrap();
        let was = catalog_digests_within(&mut tx).await.unwrap();
        assert_eq!(was.differing(&right.of_catalog()), [part], "{damage}");
        replace_catalog(&mut tx, &new, &[part]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(digests(&live, &ledgers).await.unwrap(), right, "after {damage}");
    }
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_a_role_that_the_log_does_not_have_are_not_left_without_it() {
    let (stack, dsns) = databases(2).await;
    let pool = |dsn: &String| PoolSettings::projecting().pool(dsn).unwrap();
    let (live, new, log) = (pool(&dsns[0]), pool(&dsns[1]), log());
    projected(&log, &live, ShardMap::new([0])).await;
    projected(&log, &new, without_ledgers()).await;
    run(
        &live,
        "INSERT INTO roles (id, name, is_system_role, level, created_at, updated_at)
         VALUES (gen_random_uuid(), 'forged', true, 0, now(), now());
         UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'forged')
         WHERE id = (SELECT min(id::text)::uuid FROM user_roles)",
    )
    .await;
    let mut tx = live.begin().await.unwrap();
    let refused = replace_catalog(&mut tx, &new, &CatalogPart::ALL)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RowError::ReadModel(Error::StrayGrants(_))),
        "{refused:?}"
    );
    tx.rollback().await.unwrap();
    stack.shutdown().await.unwrap();
}
