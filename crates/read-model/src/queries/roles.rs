//! Reads of `user_roles` and `user_role_cache`.

use schemas::{EventId, GrantScope, RoleId, Sealed, Timestamp, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Snapshot, optional_sealed, optional_time, sealed, time};
use crate::Error;

/// An unrevoked grant; whether it has expired is for the reader's clock to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// The event that granted it.
    pub id: EventId,
    pub role_id: RoleId,
    pub role_name: String,
    pub granted_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub granted_by: Option<UserId>,
    pub scope: Option<GrantScope>,
}

/// The materialised mapping of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCacheRow {
    pub user_id: UserId,
    pub username: Sealed,
    pub email: Option<Sealed>,
    pub user_active: bool,
    pub role_names: Vec<String>,
    pub permission_names: Vec<String>,
    /// `resource:action`.
    pub resource_actions: Vec<String>,
    pub cache_updated_at: Timestamp,
}

/// Unrevoked grants of roles that still exist, by name, those without limits first.
pub async fn grants_of_user(snapshot: &mut Snapshot, user: UserId) -> Result<Vec<GrantRow>, Error> {
    let rows = sqlx::query(
        "SELECT ur.id, ur.role_id, r.name, ur.granted_at, ur.expires_at, ur.granted_by,
                ur.scope_resource, ur.scope_id, ur.scope_is_prefix
         FROM user_roles ur JOIN roles r ON r.id = ur.role_id AND r.deleted_at IS NULL
         WHERE ur.user_id = $1 AND ur.is_active
         ORDER BY r.name, ur.scope_resource, ur.scope_id, ur.scope_is_prefix",
    )
    .bind(user.as_uuid())
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(GrantRow {
                id: row.try_get::<Uuid, _>("id")?.into(),
                role_id: row.try_get::<Uuid, _>("role_id")?.into(),
                role_name: row.try_get("name")?,
                granted_at: time(row, "granted_at")?,
                expires_at: optional_time(row, "expires_at")?,
                granted_by: row.try_get::<Option<Uuid>, _>("granted_by")?.map(UserId::from),
                scope: scope(row)?,
            })
        })
        .collect()
}

/// Empty texts stand for what a scope does not have.
fn scope(row: &PgRow) -> Result<Option<GrantScope>, Error> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let Some(resource) = some(row.try_get("scope_resource")?) else {
        return Ok(None);
    };
    Ok(Some(GrantScope {
        resource,
        id: some(row.try_get("scope_id")?),
        is_prefix: row.try_get("scope_is_prefix")?,
    }))
}

/// Users of a ledger who hold one of these roles, unrevoked, by id: the first `at_most` of those behind `after`. Whether
/// they may use it is for others to say.
pub async fn holders_of_roles(
    snapshot: &mut Snapshot,
    ledger: i32,
    roles: &[RoleId],
    after: Option<UserId>,
    at_most: usize,
) -> Result<Vec<UserId>, Error> {
    // Of each role no more than of all: the index has them in this order. Who holds it under many scopes counts once.
    let rows = sqlx::query_scalar(
        "SELECT DISTINCT held.user_id
         FROM unnest($1::uuid[]) AS r (id)
         CROSS JOIN LATERAL (
             SELECT DISTINCT ur.user_id FROM user_roles ur
             WHERE ur.role_id = r.id AND ur.ledger = $2::int::smallint AND ur.is_active AND ur.user_id > $3
             ORDER BY ur.user_id LIMIT $4
         ) AS held
         ORDER BY held.user_id LIMIT $4",
    )
    .bind(roles.iter().map(|role| role.as_uuid()).collect::<Vec<_>>())
    .bind(ledger)
    // No user has this id.
    .bind(after.map_or(Uuid::nil(), |user| user.as_uuid()))
    .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
    .fetch_all(snapshot.connection())
    .await?;
    Ok(rows.into_iter().map(|id: Uuid| id.into()).collect())
}

pub async fn role_cache_of_user(
    snapshot: &mut Snapshot,
    user: UserId,
) -> Result<Option<RoleCacheRow>, Error> {
    let row = sqlx::query(
        "SELECT user_id, username, email, user_active, role_names, permission_names, resource_actions,
                cache_updated_at
         FROM user_role_cache WHERE user_id = $1",
    )
    .bind(user.as_uuid())
    .fetch_optional(snapshot.connection())
    .await?;
    row.map(|row| {
        Ok(RoleCacheRow {
            user_id: row.try_get::<Uuid, _>("user_id")?.into(),
            username: sealed(&row, "username")?,
            email: optional_sealed(&row, "email")?,
            user_active: row.try_get("user_active")?,
            role_names: row.try_get("role_names")?,
            permission_names: row.try_get("permission_names")?,
            resource_actions: row.try_get("resource_actions")?,
            cache_updated_at: time(&row, "cache_updated_at")?,
        })
    })
    .transpose()
}
