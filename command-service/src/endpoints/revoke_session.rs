//! DELETE /v1/sessions/{id}: end one session.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{RevokeSession, User, UserCommand};
use schemas::SessionId;
use schemas::user::RevokeReason;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "Session id")), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.revoke", skip_all, fields(session.id = %session_id))]
pub async fn revoke_session(
    State(app): State<Arc<App>>,
    call: Call,
    Path(session_id): Path<SessionId>,
) -> Result<Written, Problem> {
    app.await_demanded(&call).await?;
    let own = call.caller.session_id == session_id;
    let mut owner = if own {
        Some(call.caller.user_id)
    } else {
        app.node.session_owner(session_id)
    };
    if owner.is_none() {
        // It may have begun a moment ago.
        app.await_latest(None).await?;
        owner = app.node.session_owner(session_id);
    }
    let Some(owner) = owner else {
        // Who may not see sessions does not learn which exist.
        app.authorise(&call, Permission::SessionRevoke).await?;
        return Err(ProblemType::NoSuchSession.into());
    };
    let basis = app
        .authorise_self_or(&call, owner, Permission::SessionRevoke)
        .await?;
    let reason = match (own, owner == call.caller.user_id) {
        (true, _) => RevokeReason::Logout,
        (false, true) => RevokeReason::UserRequest,
        (false, false) => RevokeReason::Administrator,
    };
    let command = UserCommand::RevokeSession(RevokeSession { session_id, reason });
    let context = call.context(&app, "revoke-session", &session_id, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&owner.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
