//! What a shard has by the catalog's events, as another database has it, put in the place of what is here.
//!
//! For whoever holds the catalog's checkpoint until the transaction ends. Tables, rights and policies stay as they are:
//! only rows change, and readers see the former ones or the new ones.

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::digest::CATALOG_LEDGER;
use crate::{Error, ledger_rows};

/// The copy of roles and permissions.
const TABLES: [&str; 3] = ["roles", "permissions", "role_permissions"];

/// Replaces roles, permissions and what is attached. Gives the roles that give something else now.
pub async fn replace(from: &mut PgConnection, tx: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    for table in TABLES {
        let new = format!("new_{table}");
        let make = format!("CREATE TEMP TABLE {new} (LIKE {table}) ON COMMIT DROP");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *tx).await?;
        ledger_rows::copy_rows(from, tx, (table, new.as_str()), "true").await?;
    }
    let changed = changed_roles(tx).await?;
    for delete in ["DELETE FROM role_permissions", "DELETE FROM permissions"] {
        sqlx::query(delete).execute(&mut *tx).await?;
    }
    replace_roles(tx).await?;
    for insert in [
        "INSERT INTO permissions SELECT * FROM new_permissions",
        "INSERT INTO role_permissions SELECT * FROM new_role_permissions",
    ] {
        sqlx::query(insert).execute(&mut *tx).await?;
    }
    Ok(changed)
}

/// By any difference in themselves, in what is attached to them, or in a permission that was or will be.
async fn changed_roles(tx: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    Ok(sqlx::query_scalar(
        "SELECT r.id FROM ((TABLE roles EXCEPT TABLE new_roles)
                           UNION ALL (TABLE new_roles EXCEPT TABLE roles)) r
         UNION
         SELECT a.role_id FROM ((TABLE role_permissions EXCEPT TABLE new_role_permissions)
                                UNION ALL (TABLE new_role_permissions EXCEPT TABLE role_permissions)) a
         UNION
         SELECT a.role_id FROM ((TABLE permissions EXCEPT TABLE new_permissions)
                                UNION ALL (TABLE new_permissions EXCEPT TABLE permissions)) p
         JOIN (TABLE role_permissions UNION ALL TABLE new_role_permissions) a ON a.permission_id = p.id",
    )
    .fetch_all(tx)
    .await?)
}

/// Row by row, since grants refer to them.
async fn replace_roles(tx: &mut PgConnection) -> Result<(), Error> {
    // No living role may have the name of another, not even for a moment.
    sqlx::query(
        "UPDATE roles SET deleted_at = created_at
         WHERE deleted_at IS NULL AND NOT EXISTS (
             SELECT FROM new_roles n WHERE n.id = roles.id AND n.name = roles.name AND n.deleted_at IS NULL)",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM roles WHERE NOT EXISTS (SELECT FROM new_roles n WHERE n.id = roles.id)")
        .execute(&mut *tx)
        .await
        .map_err(stray)?;
    let columns = ledger_rows::columns(tx, "roles").await?;
    for statement in [
        format!("UPDATE roles SET ({columns}) = (SELECT {columns} FROM new_roles n WHERE n.id = roles.id)"),
        format!(
            "INSERT INTO roles ({columns}) SELECT {columns} FROM new_roles n
             WHERE NOT EXISTS (SELECT FROM roles r WHERE r.id = n.id)"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    Ok(())
}

/// A grant cannot come from the log if its role does not.
fn stray(error: sqlx::Error) -> Error {
    let database = error.as_database_error();
    if database.is_some_and(|it| it.is_foreign_key_violation()) {
        return Error::StrayGrants(error);
    }
    error.into()
}

/// Replaces what the audit log tells of the catalog, of the months that are kept.
pub async fn replace_audit(from: &mut PgConnection, tx: &mut PgConnection) -> Result<(), Error> {
    let (table, which) = ("security_audit_log", format!("ledger = {CATALOG_LEDGER}"));
    let delete = format!("DELETE FROM {table} WHERE {which}");
    sqlx::query(AssertSqlSafe(delete)).execute(&mut *tx).await?;
    ledger_rows::copy_rows(from, tx, (table, table), &which).await?;
    Ok(())
}
