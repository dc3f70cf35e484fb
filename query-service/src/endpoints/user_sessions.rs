//! GET /v1/users/{id}/sessions: where somebody is or was signed in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{SessionRow, sessions_of_user};
use schemas::{DeviceId, SessionId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::assurance::Assurance;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller};
use service_kit::json::Json;
use service_kit::params::{Path, Query};
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::endpoints::limit::Limit;
use crate::personal_data::PersonalData;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Limit,
}

#[derive(Serialize, ToSchema)]
pub struct SessionsAnswer {
    sessions: Vec<SessionAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct SessionAnswer {
    #[schema(value_type = Uuid)]
    id: SessionId,
    /// Neither revoked nor expired.
    live: bool,
    /// The session this request came with.
    current: bool,
    /// The same for sessions of one browser or app that showed its device token.
    #[schema(value_type = Uuid)]
    device_id: DeviceId,
    /// How sure it is that the session is the user's.
    assurance: Assurance,
    /// How the user proved who they are (RFC 8176).
    methods: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends by itself: at its end, or for want of use unless it is refreshed before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_activity_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    revoked_reason: Option<String>,
    /// Coarse network.
    network: Option<String>,
    ip_address: Option<String>,
    user_agent: Option<String>,
    device_fingerprint: Option<String>,
    country_code: Option<String>,
    city: Option<String>,
}

/// Sessions of a user, newest first, ended ones too
///
/// Needs the permission `rolecall.session_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/sessions",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id"), SessionsQuery),
    responses(
        (status = 200, description = "The sessions", body = SessionsAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_sessions(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
    Query(query): Query<SessionsQuery>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::SessionRead)?;
    app.require_known(id)?;
    let limit = query.limit.0;
    let read = app.read(id, &at_least, move |shard| {
        Box::pin(sessions_of_user(shard, id, limit))
    });
    let (rows, token) = read.await?;
    let personal = app.data_keys.of(app.node.log_id(), id).await?;
    let now = app.now();
    let sessions = rows.into_iter().map(|row| answer(row, caller, &personal, now));
    let answer = SessionsAnswer {
        sessions: sessions.collect::<Result<_, _>>()?,
    };
    Ok((token, Json(answer)).into_response())
}

fn answer(
    row: SessionRow,
    caller: Caller,
    personal: &PersonalData,
    now: Timestamp,
) -> Result<SessionAnswer, Problem> {
    Ok(SessionAnswer {
        id: row.id,
        live: row.is_active && now < row.ends_at,
        current: Some(row.id) == caller.session_id(),
        device_id: row.device_id,
        assurance: Assurance::of(&row.methods),
        methods: row.methods,
        created_at: row.created_at,
        expires_at: row.ends_at,
        last_activity_at: row.last_activity_at,
        revoked_at: row.revoked_at,
        revoked_reason: row.revoked_reason,
        network: row.ip_network,
        ip_address: personal.open_some(field::IP_ADDRESS, row.ip_address.as_ref())?,
        user_agent: personal.open_some(field::USER_AGENT, row.user_agent.as_ref())?,
        device_fingerprint: personal.open_some(field::DEVICE_FINGERPRINT, row.device_fingerprint.as_ref())?,
        country_code: row.country_code,
        city: personal.open_some(field::CITY, row.city.as_ref())?,
    })
}
