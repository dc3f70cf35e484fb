//! Reads of `user_passkeys`.

use schemas::{CredentialId, Sealed, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{Snapshot, optional_time, sealed, time};
use crate::Error;

/// A passkey in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRow {
    pub id: CredentialId,
    pub name: Sealed,
    pub is_backed_up: bool,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// The user's passkeys that were not removed, the newest first.
pub async fn passkeys_of_user(snapshot: &mut Snapshot, user: UserId) -> Result<Vec<PasskeyRow>, Error> {
    let rows = sqlx::query(
        "SELECT id, name, is_backed_up, created_at, last_used_at FROM user_passkeys
         WHERE user_id = $1 AND removed_at IS NULL ORDER BY created_at DESC, id DESC",
    )
    .bind(user.as_uuid())
    .fetch_all(snapshot.connection())
    .await?;
    let row = |row| {
        Ok(PasskeyRow {
            id: sqlx::postgres::PgRow::try_get::<Uuid, _>(row, "id")?.into(),
            name: sealed(row, "name")?,
            is_backed_up: row.try_get("is_backed_up")?,
            created_at: time(row, "created_at")?,
            last_used_at: optional_time(row, "last_used_at")?,
        })
    };
    rows.iter().map(row).collect()
}
