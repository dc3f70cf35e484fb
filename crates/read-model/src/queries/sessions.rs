//! Reads of `user_sessions`.

use schemas::{DeviceId, Sealed, SessionId, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{PgRow, Snapshot, optional_sealed, optional_time, time};
use crate::Error;

/// A session, without the hashes of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    /// Coarse network.
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
    pub device_fingerprint: Option<Sealed>,
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
    pub device_id: DeviceId,
    /// Method references of RFC 8176.
    pub methods: Vec<String>,
    pub created_at: Timestamp,
    /// Unless it is refreshed before, where it ends for want of use.
    pub ends_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub is_active: bool,
    pub revoked_at: Option<Timestamp>,
    pub revoked_reason: Option<String>,
}

/// The newest sessions of a user first, ended ones too.
pub async fn sessions_of_user(
    snapshot: &mut Snapshot,
    user: UserId,
    limit: u32,
) -> Result<Vec<SessionRow>, Error> {
    let rows = sqlx::query(
        "SELECT id, user_id, ip_address::text AS ip_address, ip_address_sealed, user_agent, device_fingerprint,
                country_code, city, device_id, methods, created_at,
                least(expires_at, last_activity_at + idle_timeout) AS ends_at, last_activity_at, is_active, revoked_at,
                revoked_reason
         FROM user_sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
    )
    .bind(user.as_uuid())
    .bind(i64::from(limit))
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter().map(read).collect()
}

pub async fn session_by_id(snapshot: &mut Snapshot, session: SessionId) -> Result<Option<SessionRow>, Error> {
    let row = sqlx::query(
        "SELECT id, user_id, ip_address::text AS ip_address, ip_address_sealed, user_agent, device_fingerprint,
                country_code, city, device_id, methods, created_at,
                least(expires_at, last_activity_at + idle_timeout) AS ends_at, last_activity_at, is_active, revoked_at,
                revoked_reason
         FROM user_sessions WHERE id = $1",
    )
    .bind(session.as_uuid())
    .fetch_optional(snapshot.connection())
    .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &PgRow) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        id: row.try_get::<Uuid, _>("id")?.into(),
        user_id: row.try_get::<Uuid, _>("user_id")?.into(),
        ip_network: row.try_get("ip_address")?,
        ip_address: optional_sealed(row, "ip_address_sealed")?,
        user_agent: optional_sealed(row, "user_agent")?,
        device_fingerprint: optional_sealed(row, "device_fingerprint")?,
        country_code: row.try_get("country_code")?,
        city: optional_sealed(row, "city")?,
        device_id: row.try_get::<Uuid, _>("device_id")?.into(),
        methods: row.try_get("methods")?,
        created_at: time(row, "created_at")?,
        ends_at: time(row, "ends_at")?,
        last_activity_at: time(row, "last_activity_at")?,
        is_active: row.try_get("is_active")?,
        revoked_at: optional_time(row, "revoked_at")?,
        revoked_reason: row.try_get("revoked_reason")?,
    })
}
