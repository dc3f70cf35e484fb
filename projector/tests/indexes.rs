//! Each index serves the query that docs/indexes.md names, with the planner's own settings, on a populated shard.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::history::{History, Mix};
use common::{VecLog, databases};
use projector::{Ended, Projection};
use read_model::digest::CATALOG_LEDGER;
use read_model::queries::{
    AuditCursor, AuditFilter, AuditOf, Name, Snapshot, audit, grants_of_user, holder_of_name,
    holders_of_roles, passkeys_of_user, role_cache_of_user, service_keys_of, session_by_id, sessions_of_user,
    user_by_id, user_by_name,
};
use read_model::{Error, PoolSettings, Shards, access_snapshots, schema, snapshots};
use schemas::{BlindIndex, LogId, RoleId, SessionId, Sha256Digest, Timestamp, UserId};
use service_kit::Readiness;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What the projector's own statements, and the checks of foreign keys that they cause, go by.
const OF_PROJECTOR: [&str; 10] = [
    "email_shard_lookup_pkey",
    "permissions_pkey",
    "role_permissions_by_permission",
    "role_permissions_role_id_permission_id_key",
    "roles_pkey",
    "user_roles_by_role",
    "user_roles_one_per_scope",
    "user_sessions_pkey",
    "username_shard_lookup_pkey",
    "users_pkey",
];

/// They keep keys unique, and no query goes by them.
const CONSTRAINTS: [&str; 11] = [
    "password_history_pkey",
    "password_history_user_id_version_key",
    "permissions_living_name",
    "role_permissions_pkey",
    "security_audit_log_pkey",
    "service_keys_pkey",
    "session_shard_lookup_pkey",
    "user_passkeys_pkey",
    "user_roles_pkey",
    "user_sessions_refresh_token_hash_key",
    "user_sessions_session_token_key",
];

/// Of tables with few rows, which are read whole.
const OF_SMALL_TABLES: [&str; 8] = [
    "_sqlx_migrations_pkey",
    "projection_checkpoint_pkey",
    "projection_failure_pkey",
    "projection_identity_pkey",
    "shard_map_pkey",
    "shard_placement_pkey",
    "snapshot_positions_pkey",
    "time_series_pkey",
];

/// Scans of each index so far; those of partitions count for the index of their table.
async fn scans(pool: &PgPool) -> BTreeMap<String, i64> {
    let flush = sqlx::query("SELECT pg_stat_force_next_flush()");
    flush.execute(pool).await.unwrap();
    let scans: Vec<(String, i64)> = sqlx::query_as(
        "SELECT coalesce(pg_partition_root(indexrelid), indexrelid)::regclass::text, sum(idx_scan)::bigint
         FROM pg_stat_user_indexes WHERE schemaname = 'public' GROUP BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    scans.into_iter().collect()
}

/// What was scanned while it ran.
async fn used_by(pool: &PgPool, run: impl AsyncFnOnce()) -> BTreeSet<String> {
    let before = scans(pool).await;
    run().await;
    let after = scans(pool).await;
    let more = after
        .into_iter()
        .filter(|(index, count)| before.get(index) < Some(count));
    more.map(|(index, _)| index).collect()
}

async fn read_by<T>(
    pool: &PgPool,
    index: &str,
    read: impl AsyncFnOnce(&mut Snapshot) -> Result<T, Error>,
) -> String {
    let used = used_by(pool, async || {
        let mut snapshot = Snapshot::begin(pool).await.unwrap();
        read(&mut snapshot).await.unwrap();
    });
    assert!(used.await.contains(index), "{index}");
    index.to_owned()
}

/// The ids that populate.sql makes.
async fn numbered(pool: &PgPool, kind: &str) -> Uuid {
    let id = sqlx::query_scalar("SELECT numbered($1, 17)");
    id.bind(kind).fetch_one(pool).await.unwrap()
}

/// The reads of services.
async fn reads(pool: &PgPool) -> Vec<String> {
    let user = UserId::from(numbered(pool, "user").await);
    let session = SessionId::from(numbered(pool, "session").await);
    let name = BlindIndex(Sha256Digest([7; 32]));
    let mut used = vec![
        read_by(pool, "users_pkey", async |s| user_by_id(s, user).await).await,
        read_by(pool, "user_sessions_by_user", async |s| {
            sessions_of_user(s, user, 10).await
        })
        .await,
        read_by(pool, "user_sessions_pkey", async |s| {
            session_by_id(s, session).await
        })
        .await,
        read_by(pool, "user_passkeys_by_user", async |s| {
            passkeys_of_user(s, user).await
        })
        .await,
        read_by(pool, "service_keys_by_user", async |s| {
            service_keys_of(s, user).await
        })
        .await,
        read_by(pool, "user_roles_one_per_scope", async |s| {
            grants_of_user(s, user).await
        })
        .await,
        a_page_of_holders_reads_nothing_else(pool).await,
        read_by(pool, "user_role_cache_pkey", async |s| {
            role_cache_of_user(s, user).await
        })
        .await,
        read_by(pool, "users_username", async |s| {
            user_by_name(s, 0, Name::Username(name)).await
        })
        .await,
        read_by(pool, "users_email", async |s| {
            user_by_name(s, 0, Name::Email(name)).await
        })
        .await,
        read_by(pool, "username_shard_lookup_pkey", async |s| {
            holder_of_name(s, Name::Username(name)).await
        })
        .await,
        read_by(pool, "email_shard_lookup_pkey", async |s| {
            holder_of_name(s, Name::Email(name)).await
        })
        .await,
    ];
    let log_id: Uuid = sqlx::query_scalar("SELECT numbered('log', 1)")
        .fetch_one(pool)
        .await
        .unwrap();
    let of = snapshots::Partition {
        log_id: LogId::from_uuid(log_id),
        stream: "users",
        number: 1,
    };
    let fetched = used_by(pool, async || {
        snapshots::fetch(pool, of, &[user.to_string()]).await.unwrap();
    });
    assert!(fetched.await.contains("aggregate_snapshots_pkey"));
    let ledger = access_snapshots::Ledger {
        log_id: LogId::from_uuid(log_id),
        number: 3,
        format: 1,
    };
    let loaded = used_by(pool, async || {
        access_snapshots::load(pool, ledger).await.unwrap();
    });
    assert!(loaded.await.contains("access_snapshots_pkey"));
    used.extend(["aggregate_snapshots_pkey", "access_snapshots_pkey"].map(str::to_owned));
    used.extend(audit_reads(pool, user).await);
    used
}

/// Pages of the trail of a user, of a ledger, and of the catalog.
async fn audit_reads(pool: &PgPool, user: UserId) -> Vec<String> {
    let everything = AuditFilter::default();
    let suspicious = AuditFilter {
        suspicious: true,
        ..AuditFilter::default()
    };
    let catalog = i32::from(CATALOG_LEDGER);
    let mut used = vec![];
    for (index, of, filter) in [
        ("security_audit_log_by_user", AuditOf::User(user), &everything),
        ("security_audit_log_by_ledger", AuditOf::Ledger(0), &everything),
        (
            "security_audit_log_by_ledger",
            AuditOf::Ledger(catalog),
            &everything,
        ),
        ("security_audit_log_suspicious", AuditOf::Ledger(0), &suspicious),
        (
            "security_audit_log_suspicious",
            AuditOf::Ledger(catalog),
            &suspicious,
        ),
    ] {
        used.push(read_by(pool, index, async |s| audit(s, of, filter, 10).await).await);
    }
    a_page_of_the_catalog_reads_nothing_else(pool, catalog).await;
    used
}

/// Entries of an index that were read so far, in all its months.
async fn entries_read(pool: &PgPool, index: &str) -> i64 {
    let flush = sqlx::query("SELECT pg_stat_force_next_flush()");
    flush.execute(pool).await.unwrap();
    let read = sqlx::query_scalar(
        "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
         WHERE coalesce(pg_partition_root(indexrelid), indexrelid)::regclass::text = $1",
    );
    read.bind(index).fetch_one(pool).await.unwrap()
}

/// Of two roles, twenty have each; half of them come after the cursor.
async fn a_page_of_holders_reads_nothing_else(pool: &PgPool) -> String {
    let index = "user_roles_by_role";
    let mut roles = Vec::new();
    for number in [3_i64, 4] {
        let id = sqlx::query_scalar("SELECT numbered('role', $1)");
        roles.push(RoleId::from_uuid(id.bind(number).fetch_one(pool).await.unwrap()));
    }
    let middle = UserId::from_uuid(Uuid::from_u128(u128::MAX / 2));
    let before = entries_read(pool, index).await;
    let mut snapshot = Snapshot::begin(pool).await.unwrap();
    let page = holders_of_roles(&mut snapshot, 0, &roles, Some(middle), 3).await;
    drop(snapshot);
    let (page, read) = (page.unwrap(), entries_read(pool, index).await - before);
    assert_eq!(page.len(), 3);
    assert!(page.is_sorted() && page.iter().all(|user| *user > middle));
    // Three of each role, by the index alone.
    assert!((3..=6).contains(&read), "{read} entries for a page of 3");
    index.to_owned()
}

/// Of January: thousands of events of users came after the catalog's last one.
async fn a_page_of_the_catalog_reads_nothing_else(pool: &PgPool, catalog: i32) {
    let index = "security_audit_log_by_ledger";
    let end_of_january = AuditCursor {
        occurred_at: Timestamp::from_micros(1_769_904_000_000_000),
        log_offset: -1,
    };
    let filter = AuditFilter {
        before: Some(end_of_january),
        ..AuditFilter::default()
    };
    let before = entries_read(pool, index).await;
    let mut snapshot = Snapshot::begin(pool).await.unwrap();
    let page = audit(&mut snapshot, AuditOf::Ledger(catalog), &filter, 10).await;
    drop(snapshot);
    let read = entries_read(pool, index).await - before;
    assert!(page.unwrap().iter().all(|row| row.ledger == catalog));
    assert!((10..100).contains(&read), "{read} entries for a page of 10");
}

/// Questions of operators, each under the name of its index.
async fn operators(pool: &PgPool) -> Vec<String> {
    let mut used = vec![];
    let text = include_str!("../../docs/operator-queries.sql");
    for (comment, query) in text.split("\n\n").skip(1).map(|it| it.split_once('\n').unwrap()) {
        let index = comment.trim_start_matches("-- ").split(':').next().unwrap();
        let by_query = used_by(pool, async || {
            let rows = sqlx::raw_sql(query).fetch_all(pool).await.unwrap();
            assert!(!rows.is_empty(), "{query}");
        });
        assert!(by_query.await.contains(index), "{index}");
        used.push(index.to_owned());
    }
    used
}

async fn project(log: VecLog, shards: &Shards) {
    let projection = Projection {
        stop_at: Some(log.ends()),
        batch_limit: 5,
        ..Projection::new(log, VecLog::known(1), shards, Readiness::default())
    };
    let endings = projection.run(CancellationToken::new()).await.unwrap();
    let all = endings.iter().all(|(_, _, ended)| *ended == Ended::Finished);
    assert!(all, "{endings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_index_serves_the_query_that_it_is_for() {
    let (stack, dsns) = databases(1).await;
    // One connection, whose counts are complete when it is asked for them.
    let settings = PoolSettings {
        max_connections: 1,
        ..PoolSettings::projecting()
    };
    let shards = Shards::connect_lazy(&dsns, &settings).unwrap();
    let pool = &shards.get(0).unwrap().pool.clone();
    schema::migrate(pool).await.unwrap();
    sqlx::raw_sql(include_str!("indexes/populate.sql"))
        .execute(pool)
        .await
        .unwrap();

    let mix = Mix {
        users: 40,
        events: 300,
        catalog_every: 6,
    };
    let log = History::new(11, 1).generate(mix).build(1, 50);
    let by_projector = used_by(pool, async || project(log, &shards).await).await;
    let missing: Vec<_> = OF_PROJECTOR
        .iter()
        .filter(|index| !by_projector.contains(**index))
        .collect();
    assert!(missing.is_empty(), "not used by the projector: {missing:?}");

    let mut purposes: BTreeSet<String> = reads(pool).await.into_iter().collect();
    purposes.extend(operators(pool).await);
    let rest = OF_PROJECTOR.iter().chain(&CONSTRAINTS).chain(&OF_SMALL_TABLES);
    purposes.extend(rest.map(|index| (*index).to_owned()));
    let all: BTreeSet<String> = scans(pool).await.into_keys().collect();
    assert_eq!(all, purposes, "an index is for something, or it goes");
    let described = include_str!("../../docs/indexes.md");
    let undescribed: Vec<_> = all
        .iter()
        .filter(|index| !described.contains(&format!("`{index}`")))
        .collect();
    assert!(undescribed.is_empty(), "docs/indexes.md lacks {undescribed:?}");
    stack.shutdown().await.unwrap();
}
