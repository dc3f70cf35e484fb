//! Reads of `users`.

use schemas::{BlindIndex, Sealed, Timestamp, UserId};
use sqlx::{Postgres, QueryBuilder, Row};
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

/// Before the condition that says whose.
const SELECT: &str =
    "SELECT id, ledger, username, email, is_service, phone_number, email_verified, phone_verified, is_active,
            failed_login_attempts, locked_until, created_at, updated_at, last_login_at,
            last_login_ip::text AS last_login_ip, last_login_ip_sealed, deleted_at, totp_enabled, passkeys,
            version, rights_position
     FROM users WHERE ";

/// What a person signs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Username(BlindIndex),
    Email(BlindIndex),
}

pub async fn user_by_id(snapshot: &mut Snapshot, id: UserId) -> Result<Option<UserRow>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("id = ").push_bind(id.as_uuid());
    one(snapshot, query).await
}

/// Who has the name, among the users of a ledger.
pub async fn user_by_name(
    snapshot: &mut Snapshot,
    ledger: i32,
    name: Name,
) -> Result<Option<UserRow>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("ledger = ").push_bind(ledger);
    let (column, index) = match name {
        Name::Username(index) => (" AND username_index = ", index),
        Name::Email(index) => (" AND email_index = ", index),
    };
    query.push(column).push_bind(index.0.0.to_vec());
    one(snapshot, query).await
}

/// Who has the name by the look-up, which lies on the shard of the name's own ledger.
pub async fn holder_of_name(snapshot: &mut Snapshot, name: Name) -> Result<Option<UserId>, Error> {
    let (query, index) = match name {
        Name::Username(index) => (
            "SELECT user_id FROM username_shard_lookup WHERE username = $1",
            index,
        ),
        Name::Email(index) => ("SELECT user_id FROM email_shard_lookup WHERE email = $1", index),
    };
    let holder: Option<Uuid> = sqlx::query_scalar(query)
        .bind(index.to_hex())
        .fetch_optional(snapshot.connection())
        .await?;
    Ok(holder.map(UserId::from))
}

async fn one(snapshot: &mut Snapshot, mut query: QueryBuilder<Postgres>) -> Result<Option<UserRow>, Error> {
    let row = query.build().fetch_optional(snapshot.connection()).await?;
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
