//! Reads of a shard's copy of the catalog.

use std::collections::HashMap;

use schemas::{PermissionId, RoleId, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{PgRow, Snapshot, time};
use crate::Error;

/// A role that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    pub id: RoleId,
    pub name: String,
    pub description: Option<String>,
    pub is_system_role: bool,
    pub parent_id: Option<RoleId>,
    pub level: i32,
    pub created_at: Timestamp,
    /// When what it gives changed last.
    pub updated_at: Timestamp,
    pub created_by: Option<UserId>,
    /// By name of the permission.
    pub attached: Vec<AttachedRow>,
}

/// A permission that a role has by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedRow {
    pub permission: String,
    pub granted_at: Timestamp,
    pub granted_by: Option<UserId>,
}

/// A permission that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRow {
    pub id: PermissionId,
    pub name: String,
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: bool,
    pub created_at: Timestamp,
}

/// All roles, a parent before its children.
pub async fn catalog_roles(snapshot: &mut Snapshot) -> Result<Vec<RoleRow>, Error> {
    let mut attached = attached(snapshot).await?;
    let rows = sqlx::query(
        "SELECT id, name, description, is_system_role, parent_role_id, level, created_at, updated_at, created_by
         FROM roles WHERE deleted_at IS NULL ORDER BY level, id",
    )
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter()
        .map(|row| {
            let id = row.try_get::<Uuid, _>("id")?.into();
            Ok(RoleRow {
                id,
                name: row.try_get("name")?,
                description: row.try_get("description")?,
                is_system_role: row.try_get("is_system_role")?,
                parent_id: row
                    .try_get::<Option<Uuid>, _>("parent_role_id")?
                    .map(RoleId::from),
                level: row.try_get("level")?,
                created_at: time(row, "created_at")?,
                updated_at: time(row, "updated_at")?,
                created_by: user(row, "created_by")?,
                attached: attached.remove(&id).unwrap_or_default(),
            })
        })
        .collect()
}

/// What each role has by itself.
async fn attached(snapshot: &mut Snapshot) -> Result<HashMap<RoleId, Vec<AttachedRow>>, Error> {
    let rows = sqlx::query(
        "SELECT rp.role_id, p.name, rp.granted_at, rp.granted_by
         FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id AND p.deleted_at IS NULL
         ORDER BY p.name COLLATE \"C\"",
    )
    .fetch_all(snapshot.connection())
    .await?;
    let mut found: HashMap<RoleId, Vec<AttachedRow>> = HashMap::new();
    for row in &rows {
        let role = row.try_get::<Uuid, _>("role_id")?.into();
        found.entry(role).or_default().push(AttachedRow {
            permission: row.try_get("name")?,
            granted_at: time(row, "granted_at")?,
            granted_by: user(row, "granted_by")?,
        });
    }
    Ok(found)
}

/// All permissions, by name.
pub async fn catalog_permissions(snapshot: &mut Snapshot) -> Result<Vec<PermissionRow>, Error> {
    let rows = sqlx::query(
        "SELECT id, name, resource, action, description, category, is_dangerous, created_at
         FROM permissions WHERE deleted_at IS NULL ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PermissionRow {
                id: row.try_get::<Uuid, _>("id")?.into(),
                name: row.try_get("name")?,
                resource: row.try_get("resource")?,
                action: row.try_get("action")?,
                description: row.try_get("description")?,
                category: row.try_get("category")?,
                is_dangerous: row.try_get("is_dangerous")?,
                created_at: time(row, "created_at")?,
            })
        })
        .collect()
}

fn user(row: &PgRow, column: &str) -> Result<Option<UserId>, Error> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(UserId::from))
}
