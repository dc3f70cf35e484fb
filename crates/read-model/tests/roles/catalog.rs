//! The operator replaces what a shard has of the catalog, and is the only one who may remove any of it.

use read_model::catalog_rows;
use sqlx::{AssertSqlSafe, Connection};

use super::{PEOPLE, REFUSED, Shard};

const FORGED: &str = "
    UPDATE roles SET name = 'forged';
    INSERT INTO roles (id, name, is_system_role, level, created_at, updated_at)
    VALUES (gen_random_uuid(), 'r', true, 0, 'epoch', 'epoch');
    INSERT INTO permissions (id, name, resource, action, is_dangerous, created_at)
    VALUES (gen_random_uuid(), 'forged', '', '', false, 'epoch');
    INSERT INTO role_permissions (id, role_id, permission_id, granted_at)
    SELECT gen_random_uuid(), r.id, p.id, 'epoch' FROM roles r, permissions p;";

#[tokio::test]
async fn the_operator_replaces_the_catalog_and_others_remove_nothing_of_it() {
    let shard = Shard::migrated().await;
    sqlx::raw_sql(PEOPLE).execute(&shard.pool).await.unwrap();
    let (mut from, mut operator) = (shard.connect("operator").await, shard.connect("operator").await);
    let mut tx = operator.begin().await.unwrap();
    sqlx::raw_sql(FORGED).execute(&mut *tx).await.unwrap();
    // What the other sees is as it was.
    let changed = catalog_rows::replace(&mut from, &mut tx).await.unwrap();
    assert_eq!(
        changed.len(),
        2,
        "the one that was there and the one that was not"
    );
    catalog_rows::replace_audit(&mut from, &mut tx).await.unwrap();
    sqlx::raw_sql("DELETE FROM shard_map; DELETE FROM shard_placement")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found: Vec<(String, i64)> =
        sqlx::query_as("SELECT name::text, (SELECT count(*) FROM permissions) FROM roles")
            .fetch_all(&shard.pool)
            .await
            .unwrap();
    assert_eq!(found, [("r".to_owned(), 0_i64)]);
    for role in ["projector", "command", "query", "reader"] {
        let mut other = shard.connect(role).await;
        for table in ["roles", "permissions", "shard_map", "shard_placement"] {
            let delete = AssertSqlSafe(format!("DELETE FROM {table}"));
            let refused = sqlx::raw_sql(delete).execute(&mut other).await.unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap();
            assert_eq!(code, REFUSED, "{role} on {table}");
        }
    }
    shard.end().await;
}
