//! GET /v1/users/{id}/audit: what happened to an account, newest first.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{AuditCursor, AuditRow, audit_of_user};
use schemas::{Actor, EventId, RequestId, SessionId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::{Path, Query};
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::endpoints::limit::Limit;
use crate::personal_data::PersonalData;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// Only what stands behind this: `next` of the page before.
    #[param(value_type = Option<String>)]
    before: Option<Cursor>,
}

#[derive(Serialize, ToSchema)]
pub struct AuditAnswer {
    events: Vec<AuditEvent>,
    /// For `before` of the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Cursor>,
}

#[derive(Serialize, ToSchema)]
pub struct AuditEvent {
    #[schema(value_type = Uuid)]
    id: EventId,
    #[serde(rename = "type")]
    #[schema(example = "user.logged_in")]
    kind: String,
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
    user_agent: Option<String>,
    risk_score: i32,
    suspicious: bool,
    /// Where the log says so.
    ledger: i32,
    offset: i64,
}

/// The last event of a page: `<microseconds>-<offset>`, opaque to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor(AuditCursor);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.occurred_at.as_micros(), self.0.log_offset)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (micros, offset) = text.split_once('-')?;
            // Unsigned: what cannot stand in the log is no cursor, and must not reach the database.
            let (micros, offset) = (micros.parse::<u64>().ok()?, offset.parse::<u64>().ok()?);
            let micros = i64::try_from(micros).ok()?;
            let log_offset = i64::try_from(offset).ok()?;
            Some(Self(AuditCursor {
                occurred_at: Timestamp::from_micros(micros),
                log_offset,
            }))
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

/// What happened to an account
///
/// Newest first, in pages. Needs the permission `rolecall.audit_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/audit",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id"), AuditQuery),
    responses(
        (status = 200, description = "A page of events", body = AuditAnswer),
        (status = 400, description = "A parameter is not valid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_audit(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::AuditRead)?;
    app.require_known(id)?;
    let (limit, before) = (query.limit.0, query.before.map(|cursor| cursor.0));
    let (rows, token) = app
        .read(id, &at_least, move |shard| {
            Box::pin(audit_of_user(shard, id, before, limit))
        })
        .await?;
    let personal = app.data_keys.of(app.node.log_id(), id).await?;
    let is_full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|_| is_full).map(|row| Cursor(row.cursor()));
    let events = rows.into_iter().map(|row| event(row, &personal));
    let answer = AuditAnswer {
        events: events.collect::<Result<_, _>>()?,
        next,
    };
    Ok((token, Json(answer)).into_response())
}

fn event(row: AuditRow, personal: &PersonalData) -> Result<AuditEvent, Problem> {
    Ok(AuditEvent {
        id: row.id,
        kind: row.event_type,
        status: row.event_status,
        description: row.event_description,
        occurred_at: row.occurred_at,
        actor: row.actor,
        session_id: row.session_id,
        request_id: row.request_id,
        network: row.ip_network,
        user_agent: personal.open_some(field::USER_AGENT, row.user_agent.as_ref())?,
        risk_score: row.risk_score,
        suspicious: row.is_suspicious,
        ledger: row.ledger,
        offset: row.log_offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_anything_else_is_refused() {
        let at = Timestamp::from_micros(1_700_000_000_000_001);
        let cursor = Cursor(AuditCursor {
            occurred_at: at,
            log_offset: 42,
        });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1-2",
            "1--2",
            "1-2-3",
            "9999999999999999999-1",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
