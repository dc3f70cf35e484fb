//! DELETE /v1/sessions/{id}: end one session.

use std::sync::Arc;

use access_node::SessionStanding;
use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{self, RevokeSession, User, UserCommand};
use event_log::BusError;
use schemas::user::RevokeReason;
use schemas::{SessionId, Timestamp, UserId};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};

use crate::app::App;
use crate::call::Call;
use crate::last_calls::LastCall;
use crate::refusals::problem;

/// Of its idempotency keys.
const OPERATION: &str = "revoke-session";

#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "Session id")), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.revoke", skip_all, fields(session.id = %session_id))]
pub async fn revoke_session(
    State(app): State<Arc<App>>,
    last: LastCall,
    Path(session_id): Path<SessionId>,
) -> Result<Written, Problem> {
    let outcome = match last.call() {
        Ok(call) => end(&app, &call, session_id).await,
        Err(ended) => Err(ended),
    };
    last.or_first_answer(&app, OPERATION, &session_id, outcome).await
}

async fn end(app: &App, call: &Call, session_id: SessionId) -> Result<Written, Problem> {
    app.await_demanded(call).await?;
    let Some(owner) = owner(app, call, session_id).await? else {
        // Who may not see sessions does not learn which exist.
        app.authorise(call, Permission::SessionRevoke).await?;
        return Err(ProblemType::NoSuchSession.into());
    };
    let basis = app
        .authorise_self_or(call, owner, Permission::SessionRevoke)
        .await?;
    let reason = match (
        call.caller.session_id() == Some(session_id),
        owner == call.caller.user_id,
    ) {
        (true, _) => RevokeReason::Logout,
        (false, true) => RevokeReason::UserRequest,
        (false, false) => RevokeReason::Administrator,
    };
    let command = UserCommand::RevokeSession(RevokeSession { session_id, reason });
    let context = call.context(app, OPERATION, &session_id, basis.clone());
    match app
        .bus
        .execute::<User>(&owner.to_string(), command, context)
        .await
    {
        Ok(receipt) => Ok(Written::at(call.open.token(app, &basis, &receipt))),
        // One's own session, ended before: a retry finds what it asked for.
        Err(BusError::Refused(user::Error::NoSuchSession)) if owner == call.caller.user_id => {
            Ok(Written::at(call.open.token_of(app, app.node.basis(owner))))
        }
        Err(error) => Err(problem(error)),
    }
}

/// Whose session it is: a live one, or one of the caller's own that ended within the hour.
async fn owner(app: &App, call: &Call, session: SessionId) -> Result<Option<UserId>, Problem> {
    let caller = call.caller.user_id;
    let known = || match app.node.session_standing(caller, session, Timestamp::now()) {
        SessionStanding::Live | SessionStanding::Ended => Some(caller),
        SessionStanding::Unknown => app.node.session_owner(session),
    };
    if let Some(owner) = known() {
        return Ok(Some(owner));
    }
    // It may have begun a moment ago.
    app.await_latest(None).await?;
    Ok(known())
}
