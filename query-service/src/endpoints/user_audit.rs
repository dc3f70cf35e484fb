//! GET /v1/users/{id}/audit: what happened to an account, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{AuditFilter, AuditOf, AuditRow, audit};
use schemas::{UserId, sealed_field as field};
use serde::Deserialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::{Path, Query};
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::IntoParams;

use crate::app::App;
use crate::endpoints::audit_page::{AuditAnswer, AuditEvent, Cursor};
use crate::endpoints::limit::Limit;
use crate::personal_data::PersonalData;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserAuditQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// Only what stands behind this: `next` of the page before.
    #[param(value_type = Option<String>)]
    before: Option<Cursor>,
}

/// What happened to an account
///
/// Newest first, in pages. Needs the permission `rolecall.audit_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/audit",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id"), UserAuditQuery),
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
    Query(query): Query<UserAuditQuery>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::AuditRead)?;
    app.require_known(id)?;
    let (limit, before) = (query.limit.0, query.before);
    let ledger = app.node.ledger(id);
    let filter = AuditFilter {
        before: before.map(|cursor| cursor.within(ledger)),
        ..AuditFilter::default()
    };
    let (rows, token) = app
        .read(id, &at_least, |shard| {
            let filter = filter.clone();
            Box::pin(async move { audit(shard, AuditOf::User(id), &filter, limit).await })
        })
        .await?;
    let personal = app.data_keys.of(app.node.log_id(), id).await?;
    let next = Cursor::behind(&rows, limit);
    let events = rows.into_iter().map(|row| event(row, &personal));
    let answer = AuditAnswer {
        events: events.collect::<Result<_, _>>()?,
        next,
    };
    Ok((token, Json(answer)).into_response())
}

fn event(row: AuditRow, personal: &PersonalData) -> Result<AuditEvent, Problem> {
    let user_agent = personal.open_some(field::USER_AGENT, row.user_agent.as_ref())?;
    let mut event = AuditEvent::from(row);
    event.user_agent = user_agent;
    Ok(event)
}
