//! A page of an audit trail: its events, and where it ends.

use std::fmt;
use std::str::FromStr;

use read_model::queries::{AuditCursor, AuditRow};
use schemas::{Actor, EventId, RequestId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct AuditAnswer {
    pub events: Vec<AuditEvent>,
    /// For `before` of the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<Cursor>,
}

#[derive(Serialize, ToSchema)]
pub struct AuditEvent {
    #[schema(value_type = Uuid)]
    id: EventId,
    #[serde(rename = "type")]
    #[schema(example = "user.logged_in")]
    kind: String,
    /// Left out of what the catalog tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    status: String,
    description: String,
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// `user:<id>`, `service:<id>` of a service account, `system` or `anonymous`.
    #[schema(value_type = String)]
    actor: Actor,
    #[schema(value_type = Option<Uuid>)]
    session_id: Option<SessionId>,
    #[schema(value_type = Uuid)]
    request_id: RequestId,
    /// Coarse network.
    network: Option<String>,
    /// Only where it is asked for what happened to one account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    risk_score: i32,
    suspicious: bool,
    /// Where the log says so: partition of the users topic, or -1 for the catalog.
    ledger: i32,
    offset: i64,
}

impl From<AuditRow> for AuditEvent {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            kind: row.event_type,
            user_id: row.user_id,
            status: row.event_status,
            description: row.event_description,
            occurred_at: row.occurred_at,
            actor: row.actor,
            session_id: row.session_id,
            request_id: row.request_id,
            network: row.ip_network,
            user_agent: None,
            risk_score: row.risk_score,
            suspicious: row.is_suspicious,
            ledger: row.ledger,
            offset: row.log_offset,
        }
    }
}

/// The last event of a page: `<microseconds>-<partition>-<offset>`, opaque to callers. The catalog is partition 0, a
/// ledger one more than its number. Newest first, and of the same microsecond the highest place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    occurred_at: Timestamp,
    ledger: i32,
    log_offset: i64,
}

impl Cursor {
    /// Where the next page begins; there is none behind a page that is not full.
    pub fn behind(page: &[AuditRow], limit: u32) -> Option<Self> {
        let is_full = u32::try_from(page.len()) == Ok(limit);
        page.last().filter(|_| is_full).map(Self::of)
    }

    pub fn of(row: &AuditRow) -> Self {
        Self {
            occurred_at: row.occurred_at,
            ledger: row.ledger,
            log_offset: row.log_offset,
        }
    }

    /// Where it stands among the events of a ledger.
    pub fn within(&self, ledger: i32) -> AuditCursor {
        let log_offset = match ledger.cmp(&self.ledger) {
            // At the same time, these come after.
            std::cmp::Ordering::Less => i64::MAX,
            std::cmp::Ordering::Equal => self.log_offset,
            std::cmp::Ordering::Greater => -1,
        };
        AuditCursor {
            occurred_at: self.occurred_at,
            log_offset,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partition = i64::from(self.ledger) + 1;
        write!(
            f,
            "{}-{partition}-{}",
            self.occurred_at.as_micros(),
            self.log_offset
        )
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('-');
            // Unsigned: what cannot stand in the log is no cursor, and must not reach the database.
            let mut part = || i64::try_from(parts.next()?.parse::<u64>().ok()?).ok();
            let (micros, partition, log_offset) = (part()?, part()?, part()?);
            let ledger = i32::from(i16::try_from(partition - 1).ok()?);
            parts.next().is_none().then_some(Self {
                occurred_at: Timestamp::from_micros(micros),
                ledger,
                log_offset,
            })
        };
        parse().ok_or("before is not what a page gave as next")
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_anything_else_is_refused() {
        for ledger in [-1, 0, 63] {
            let cursor = Cursor {
                occurred_at: Timestamp::from_micros(1_700_000_000_000_001),
                ledger,
                log_offset: 42,
            };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in [
            "",
            "--",
            "1-2",
            "1-2-",
            "-1-2-3",
            "1--2-3",
            "1-2-3-4",
            "1-99999-3",
            "9999999999999999999-1-1",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_parts_the_events_of_every_ledger() {
        let cursor = |ledger, log_offset| Cursor {
            occurred_at: Timestamp::from_micros(5),
            ledger,
            log_offset,
        };
        let at = cursor(2, 7);
        for (ledger, offset) in [(1, 0), (1, 9), (2, 6), (2, 7), (2, 8), (3, 0), (3, 9)] {
            let stands_behind = (5, offset) < (5, at.within(ledger).log_offset);
            assert_eq!(stands_behind, cursor(ledger, offset) < at, "{ledger} {offset}");
        }
    }
}
