//! Reads of `service_keys`.

use schemas::{KeyId, RoleId, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{Snapshot, optional_time, time};
use crate::Error;

/// A key of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKeyRow {
    pub id: KeyId,
    /// None: all of the account's.
    pub roles: Option<Vec<RoleId>>,
    pub issued_at: Timestamp,
    pub issued_by: Option<UserId>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Of one account, the newest first. As many as were ever issued.
pub async fn service_keys_of(snapshot: &mut Snapshot, account: UserId) -> Result<Vec<ServiceKeyRow>, Error> {
    let rows = sqlx::query(
        "SELECT id, role_ids, issued_at, issued_by, expires_at, revoked_at
         FROM service_keys WHERE user_id = $1 ORDER BY issued_at DESC, id DESC LIMIT 1000",
    )
    .bind(account.as_uuid())
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter()
        .map(|row| {
            let roles: Option<Vec<Uuid>> = row.try_get("role_ids")?;
            Ok(ServiceKeyRow {
                id: row.try_get::<Uuid, _>("id")?.into(),
                roles: roles.map(|ids| ids.into_iter().map(RoleId::from_uuid).collect()),
                issued_at: time(row, "issued_at")?,
                issued_by: row.try_get::<Option<Uuid>, _>("issued_by")?.map(UserId::from),
                expires_at: optional_time(row, "expires_at")?,
                revoked_at: optional_time(row, "revoked_at")?,
            })
        })
        .collect()
}
