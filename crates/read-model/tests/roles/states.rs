//! States of aggregates and rights, and audit months that were let go: for those who work with them, and not for the
//! owner of the tables.

use read_model::access_snapshots::{self, Ledger, Part};
use read_model::snapshots::{self, Partition, PositionRow, Saved, Saving, SnapshotRow};
use read_model::{PoolSettings, time_series};
use schemas::{ChainHead, LogId, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::{PEOPLE, REFUSED, STATES, Shard, seen};

const LOG: LogId = LogId::from_uuid(Uuid::from_u128(1));
const OF: Partition = Partition {
    log_id: LOG,
    stream: "users",
    number: 3,
};
const LEDGER: Ledger = Ledger {
    log_id: LOG,
    number: 3,
    format: 1,
};

fn state() -> SnapshotRow {
    SnapshotRow {
        aggregate_id: "somebody".to_owned(),
        sequence: 1,
        pinned: false,
        state: vec![7],
        seal: [2; 32],
    }
}

fn rights() -> Part {
    Part {
        content: vec![8],
        seal: vec![9],
    }
}

/// As the owner of a ledger does, behind commands.
async fn save(command: &PgPool, expected: Option<&[u8; 32]>) {
    let position = PositionRow {
        state_version: 1,
        next_offset: 1,
        chain: ChainHead::START,
        last_at: Timestamp::from_micros(0),
        claim_offset: 0,
        row_count: 1,
        seal: [1; 32],
    };
    for replace in [false, true] {
        let saving = Saving {
            expected: if replace { Some(&position.seal) } else { expected },
            replace,
            rows: &[state()],
            position: &position,
        };
        let saved = snapshots::save(command, OF, saving).await.unwrap();
        assert_eq!(saved, Saved::Done);
        access_snapshots::save(command, LEDGER, &[rights()])
            .await
            .unwrap();
    }
}

/// How many states somebody sees.
async fn count(connection: &mut PgConnection) -> Vec<i64> {
    let mut found = vec![];
    for table in STATES {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        found.push(sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap());
    }
    found
}

#[tokio::test]
async fn states_are_for_those_who_save_load_and_move_them() {
    let shard = Shard::migrated().await;
    let dsn = shard.stack.service_dsns().remove(0);
    let pool = |settings: PoolSettings| settings.pool(&dsn).unwrap();
    let (command, query) = (pool(PoolSettings::saving()), pool(PoolSettings::reading("test")));
    let operator = pool(PoolSettings::operating());
    save(&command, None).await;
    let fetched = snapshots::fetch(&command, OF, &["somebody".to_owned()]).await;
    assert_eq!(fetched.unwrap(), [state()]);
    for whose in [&command, &query, &operator] {
        assert_eq!(access_snapshots::load(whose, LEDGER).await.unwrap(), [rights()]);
    }

    let mut owner = shard.connect("owner").await;
    assert_eq!(count(&mut owner).await, [0, 0]);
    for table in STATES {
        let sql = AssertSqlSafe(format!("DELETE FROM {table}"));
        let done = sqlx::query(sql).execute(&mut owner).await.unwrap();
        assert_eq!(done.rows_affected(), 0, "{table}");
    }
    let forged = "INSERT INTO access_snapshots VALUES (gen_random_uuid(), 0, 1, 0, '', '')";
    let refused = sqlx::query(forged).execute(&mut owner).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), REFUSED);

    // A move copies them, and removes them where they lay.
    snapshots::copy(&operator, &operator, OF).await.unwrap();
    access_snapshots::copy(&operator, &operator, LOG, 3)
        .await
        .unwrap();
    let mut all = shard.connect("operator").await;
    assert_eq!(count(&mut all).await, [1, 1]);
    save(&command, Some(&[1; 32])).await;
    snapshots::forget(&operator, OF).await.unwrap();
    access_snapshots::forget(&operator, LOG, 3).await.unwrap();
    assert_eq!(count(&mut all).await, [0, 0]);
    for pool in [command, query, operator] {
        pool.close().await;
    }
    shard.end().await;
}

/// Whose rows still tell a network or a user agent.
async fn telling(shard: &Shard) -> Vec<u128> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT user_id FROM security_audit_log_2026_03 WHERE ip_address IS NOT NULL OR user_agent IS NOT NULL
         ORDER BY user_id",
    )
    .fetch_all(&shard.pool)
    .await
    .unwrap();
    ids.iter().map(Uuid::as_u128).collect()
}

#[tokio::test]
async fn erasures_reach_months_that_were_let_go_and_the_owner_does_not() {
    let shard = Shard::migrated().await;
    sqlx::raw_sql(PEOPLE).execute(&shard.pool).await.unwrap();
    sqlx::raw_sql("UPDATE security_audit_log SET ip_address = '10.1.0.0/16', user_agent = 'x'")
        .execute(&shard.pool)
        .await
        .unwrap();
    let mut projector = shard.connect("projector").await;
    sqlx::raw_sql("SELECT retire_months('security_audit_log', '2026-04-01', false)")
        .execute(&mut projector)
        .await
        .unwrap();
    assert_eq!(telling(&shard).await, [1, 2]);
    let mut owner = shard.connect("owner").await;
    let month = [("security_audit_log_2026_03", "user_id")];
    assert_eq!(seen(&mut owner, &month).await, [vec![]]);

    time_series::erase_detached(&mut projector, &[Uuid::from_u128(1)])
        .await
        .unwrap();
    assert_eq!(telling(&shard).await, [2]);
    let mut operator = shard.connect("operator").await;
    time_series::erase_detached_ledger(&mut operator, 0)
        .await
        .unwrap();
    assert_eq!(telling(&shard).await, Vec::<u128>::new());
    shard.end().await;
}
