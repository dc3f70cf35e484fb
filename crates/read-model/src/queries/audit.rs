//! Reads of `security_audit_log`.

use schemas::{Actor, EventId, RequestId, Sealed, SessionId, Timestamp, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::{PgRow, Snapshot, optional_sealed, time};
use crate::Error;

/// What happened, and where the log says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    pub id: EventId,
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub event_type: String,
    pub event_status: String,
    pub event_description: String,
    /// Coarse network.
    pub ip_network: Option<String>,
    pub user_agent: Option<Sealed>,
    pub request_id: RequestId,
    pub risk_score: i32,
    pub is_suspicious: bool,
    pub occurred_at: Timestamp,
    pub actor: Actor,
    /// Partition of the users topic, or -1 for the catalog.
    pub ledger: i32,
    pub log_offset: i64,
}

/// The last row of a page; the next one starts behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    pub occurred_at: Timestamp,
    pub log_offset: i64,
}

impl AuditRow {
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor {
            occurred_at: self.occurred_at,
            log_offset: self.log_offset,
        }
    }
}

/// A page of a user's audit trail, newest first.
pub async fn audit_of_user(
    snapshot: &mut Snapshot,
    user: UserId,
    after: Option<AuditCursor>,
    limit: u32,
) -> Result<Vec<AuditRow>, Error> {
    let end = AuditCursor {
        occurred_at: chrono::DateTime::<chrono::Utc>::MAX_UTC.into(),
        log_offset: i64::MAX,
    };
    let after = after.unwrap_or(end);
    // The date beside the time lets the planner leave out later months.
    let rows = sqlx::query(
        "SELECT id, user_id, session_id, event_type, event_status, event_description, ip_address::text AS ip_address,
                user_agent, request_id, risk_score, is_suspicious, occurred_at, actor, ledger, log_offset
         FROM security_audit_log
         WHERE user_id = $1 AND (occurred_at, log_offset) < ($2, $3)
           AND partition_date <= ($2::timestamptz AT TIME ZONE 'UTC')::date
         ORDER BY occurred_at DESC, log_offset DESC LIMIT $4",
    )
    .bind(user.as_uuid())
    .bind(after.occurred_at.to_utc().min(last_timestamptz()))
    .bind(after.log_offset)
    .bind(i64::from(limit))
    .fetch_all(snapshot.connection())
    .await?;
    rows.iter().map(read).collect()
}

/// Later than any event; `DateTime::MAX_UTC` does not fit PostgreSQL's range of text and dates.
fn last_timestamptz() -> chrono::DateTime<chrono::Utc> {
    Timestamp::from_micros(253_402_300_799_000_000).to_utc()
}

fn read(row: &PgRow) -> Result<AuditRow, Error> {
    let actor: String = row.try_get("actor")?;
    Ok(AuditRow {
        id: row.try_get::<Uuid, _>("id")?.into(),
        user_id: row.try_get::<Option<Uuid>, _>("user_id")?.map(UserId::from),
        session_id: row.try_get::<Option<Uuid>, _>("session_id")?.map(SessionId::from),
        event_type: row.try_get("event_type")?,
        event_status: row.try_get("event_status")?,
        event_description: row.try_get("event_description")?,
        ip_network: row.try_get("ip_address")?,
        user_agent: optional_sealed(row, "user_agent")?,
        request_id: row.try_get::<Uuid, _>("request_id")?.into(),
        risk_score: row.try_get("risk_score")?,
        is_suspicious: row.try_get("is_suspicious")?,
        occurred_at: time(row, "occurred_at")?,
        actor: actor.parse().map_err(|_| Error::Corrupt {
            column: "actor",
            value: actor,
        })?,
        ledger: i32::from(row.try_get::<i16, _>("ledger")?),
        log_offset: row.try_get("log_offset")?,
    })
}
