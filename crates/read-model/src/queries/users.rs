//! Reads of `users`.

use schemas::{Sealed, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{PgRow, Snapshot, optional_sealed, optional_time, sealed, time};
use crate::Error;

/// A person's account; the password hash stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub id: UserId,
    pub ledger: i32,
    pub username: Sealed,
    /// None of a service account.
    pub email: Option<Sealed>,
    pub is_service: bool,
    pub phone_number: Option<Sealed>,
    pub email_verified: bool,
    pub phone_verified: bool,
    pub is_active: bool,
    pub failed_login_attempts: i32,
    pub locked_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_login_at: Option<Timestamp>,
    /// Coarse network.
    pub last_login_ip: Option<String>,
    pub last_login_ip_sealed: Option<Sealed>,
    pub deleted_at: Option<Timestamp>,
    pub totp_enabled: bool,
    pub passkeys: i32,
    pub version: i64,
    pub rights_position: i64,
}

pub async fn user_by_id(snapshot: &mut Snapshot, id: UserId) -> Result<Option<UserRow>, Error> {
    let row = sqlx::query(
        "SELECT id, ledger, username, email, is_service, phone_number, email_verified, phone_verified, is_active,
                failed_login_attempts, locked_until, created_at, updated_at, last_login_at,
                last_login_ip::text AS last_login_ip, last_login_ip_sealed, deleted_at, totp_enabled, passkeys,
                version, rights_position
         FROM users WHERE id = $1",
    )
    .bind(id.as_uuid())
    .fetch_optional(snapshot.connection())
    .await?;
    row.as_ref().map(read).transpose()
}

/// User and offset of the last event touching rights, of all users of a ledger: what a node loads
/// at its start, beside the checkpoints of the same snapshot.
pub async fn rights_positions(snapshot: &mut Snapshot, ledger: i32) -> Result<Vec<(UserId, i64)>, Error> {
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT id, rights_position FROM users WHERE ledger = $1::integer::smallint")
            .bind(ledger)
            .fetch_all(snapshot.connection())
            .await?;
    Ok(rows
        .into_iter()
        .map(|(id, position)| (id.into(), position))
        .collect())
}

fn read(row: &PgRow) -> Result<UserRow, Error> {
    Ok(UserRow {
        id: row.try_get::<Uuid, _>("id")?.into(),
        ledger: i32::from(row.try_get::<i16, _>("ledger")?),
        username: sealed(row, "username")?,
        email: optional_sealed(row, "email")?,
        is_service: row.try_get("is_service")?,
        phone_number: optional_sealed(row, "phone_number")?,
        email_verified: row.try_get("email_verified")?,
        phone_verified: row.try_get("phone_verified")?,
        is_active: row.try_get("is_active")?,
        failed_login_attempts: row.try_get("failed_login_attempts")?,
        locked_until: optional_time(row, "locked_until")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        last_login_at: optional_time(row, "last_login_at")?,
        last_login_ip: row.try_get("last_login_ip")?,
        last_login_ip_sealed: optional_sealed(row, "last_login_ip_sealed")?,
        deleted_at: optional_time(row, "deleted_at")?,
        totp_enabled: row.try_get("totp_enabled")?,
        passkeys: row.try_get("passkeys")?,
        version: row.try_get("version")?,
        rights_position: row.try_get("rights_position")?,
    })
}
