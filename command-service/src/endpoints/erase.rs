//! DELETE /v1/users/{id}: erase a person.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use schemas::UserId;
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::last_calls::LastCall;

/// Of its idempotency keys.
const OPERATION: &str = "erase";

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// Needed to erase oneself.
    pub current_password: Option<String>,
}

#[utoipa::path(delete, path = "/v1/users/{id}", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")),
    request_body = Option<EraseRequest>, responses(
    (status = 200, body = WrittenBody<Empty>, description = "What was stored of the person cannot be read any more, by anyone, ever"),
    (status = 401, body = ProblemDetails, description = "The current password is wrong"),
    (status = 403, body = ProblemDetails, description = "Somebody else, or somebody with more rights"),
    (status = 404, body = ProblemDetails),
    (status = 423, body = ProblemDetails, description = "Too many failures; no password is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.erase", skip_all, fields(user.id = %user))]
pub async fn erase(
    State(app): State<Arc<App>>,
    last: LastCall,
    Path(user): Path<UserId>,
    OptionalJson(request): OptionalJson<EraseRequest>,
) -> Result<Written, Problem> {
    let outcome = match last.call() {
        Ok(call) => carry_out(&app, &call, user, request).await,
        Err(ended) => Err(ended),
    };
    // A retry by the erased is not asked for the password, which nobody can check any more: nothing is done again, and
    // the first answer tells what whoever ended that session knows.
    last.or_first_answer(&app, OPERATION, &user, outcome).await
}

async fn carry_out(
    app: &Arc<App>,
    call: &Call,
    user: UserId,
    request: EraseRequest,
) -> Result<Written, Problem> {
    let is_self = call.caller.user_id == user;
    let basis = if is_self {
        app.await_demanded(call).await?;
        Vec::new()
    } else {
        let basis = app.authorise_at_latest(call, Permission::UserErase).await?;
        app.await_latest(Some(app.node.ledger(user))).await?;
        app.refuse_escalation_over(call.caller, user)?;
        basis
    };
    let context = call.context(app, OPERATION, &user, basis.clone());
    let credentials = if is_self {
        let (state, device) = app.caller_state(call).await?;
        let seal = app.seal_of(user).await?;
        app.reauthenticate(call, &seal, (&state, device), request.current_password, &context)
            .await?;
        Some(state.credentials)
    } else {
        None
    };
    let receipt = app.erase(user, credentials, context).await?;
    Ok(Written::at(call.open.token(app, &basis, &receipt)))
}
