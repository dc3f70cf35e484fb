//! Reads of `security_audit_log`.

use schemas::{Actor, EventId, RequestId, Sealed, SessionId, Timestamp, UserId};
use sqlx::{QueryBuilder, Row};
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

/// Which rows of a shard are meant.
#[derive(Clone, Copy, Debug)]
pub enum AuditOf {
    User(UserId),
    /// All users of a ledger, or [`crate::digest::CATALOG_LEDGER`].
    Ledger(i32),
}

/// What of the rows; everything by default.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub event_type: Option<String>,
    /// Only what is.
    pub suspicious: bool,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Only what stands behind this.
    pub before: Option<AuditCursor>,
}

/// A page of an audit trail, newest first.
pub async fn audit(
    snapshot: &mut Snapshot,
    of: AuditOf,
    filter: &AuditFilter,
    limit: u32,
) -> Result<Vec<AuditRow>, Error> {
    let before = filter.before.unwrap_or(AuditCursor {
        occurred_at: last_timestamptz().into(),
        log_offset: i64::MAX,
    });
    let end = before.occurred_at.to_utc().min(last_timestamptz());
    let mut query = QueryBuilder::new(
        "SELECT id, user_id, session_id, event_type, event_status, event_description, ip_address::text AS ip_address,
                user_agent, request_id, risk_score, is_suspicious, occurred_at, actor, ledger, log_offset
         FROM security_audit_log WHERE (occurred_at, log_offset) < (",
    );
    query.push_bind(end).push(", ").push_bind(before.log_offset);
    // The dates beside the times let the planner leave months out.
    query.push(") AND partition_date <= ").push_bind(end.date_naive());
    match of {
        AuditOf::User(user) => query.push(" AND user_id = ").push_bind(user.as_uuid()),
        AuditOf::Ledger(ledger) => query.push(" AND ledger = ").push_bind(ledger),
    };
    if let Some(since) = filter.since.map(|since| since.to_utc()) {
        query.push(" AND occurred_at >= ").push_bind(since);
        query
            .push(" AND partition_date >= ")
            .push_bind(since.date_naive());
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" AND event_type = ").push_bind(event_type);
    }
    if filter.suspicious {
        query.push(" AND is_suspicious");
    }
    query.push(" ORDER BY occurred_at DESC, log_offset DESC LIMIT ");
    query.push_bind(i64::from(limit));
    let rows = query.build().fetch_all(snapshot.connection()).await?;
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
