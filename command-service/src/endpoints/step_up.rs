//! POST /v1/sessions/{id}/step-up: show a second factor in a session that is signed in.

use std::sync::Arc;

use axum::extract::State;
use schemas::SessionId;
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::passkeys::PasskeyAnswer;
use crate::second_factor::FactorFields;

/// One of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUpRequest {
    pub totp_code: Option<String>,
    pub recovery_code: Option<String>,
    /// To options of `POST /v1/sessions/passkey/options`.
    pub passkey: Option<PasskeyAnswer>,
}

#[utoipa::path(post, path = "/v1/sessions/{id}/step-up", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "Session id: that of the access token")),
    request_body = StepUpRequest, responses(
    (status = 200, body = WrittenBody<Empty>, description = "For ten minutes the session may do what needs a second factor. \
        Access tokens say so from the next refresh on"),
    (status = 401, body = ProblemDetails, description = "The factor does not fit"),
    (status = 423, body = ProblemDetails, description = "Too many failures; nothing is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.step_up", skip_all, fields(session.id = %session))]
pub async fn step_up(
    State(app): State<Arc<App>>,
    call: Call,
    Path(session): Path<SessionId>,
    Json(request): Json<StepUpRequest>,
) -> Result<Written, Problem> {
    if call.caller.session_id() != Some(session) {
        return Err(
            Problem::new(ProblemType::Forbidden).detail("a session is stepped up by its own access token")
        );
    }
    let fields = FactorFields {
        totp_code: request.totp_code,
        recovery_code: request.recovery_code,
        passkey: request.passkey,
    };
    let given = fields.given()?.ok_or_else(|| {
        Problem::new(ProblemType::InvalidBody).field("totp_code", "either this, recovery_code or passkey")
    })?;
    let own = app.own_account(&call, call.caller.user_id).await?;
    let receipt = app.step_up(&call, &own, &given).await?;
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}
