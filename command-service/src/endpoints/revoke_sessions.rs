//! DELETE /v1/users/{id}/sessions: end all sessions of a user.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{RevokeSessions, User, UserCommand};
use schemas::UserId;
use schemas::user::RevokeReason;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::last_calls::LastCall;
use crate::refusals::problem;

/// Of its idempotency keys.
const OPERATION: &str = "revoke-sessions";

#[utoipa::path(delete, path = "/v1/users/{id}/sessions", tag = "sessions", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.revoke_sessions", skip_all, fields(user.id = %user))]
pub async fn revoke_sessions(
    State(app): State<Arc<App>>,
    last: LastCall,
    Path(user): Path<UserId>,
) -> Result<Written, Problem> {
    let outcome = match last.call() {
        Ok(call) => end(&app, &call, user).await,
        Err(ended) => Err(ended),
    };
    last.or_first_answer(&app, OPERATION, &user, outcome).await
}

async fn end(app: &App, call: &Call, user: UserId) -> Result<Written, Problem> {
    let basis = app
        .authorise_self_or(call, user, Permission::SessionRevoke)
        .await?;
    let reason = if user == call.caller.user_id {
        RevokeReason::UserRequest
    } else {
        RevokeReason::Administrator
    };
    let command = UserCommand::RevokeSessions(RevokeSessions { except: None, reason });
    let context = call.context(app, OPERATION, &user, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(app, &basis, &receipt)))
}
