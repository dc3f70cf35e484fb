//! POST /v1/users/{id}/deactivate: close an account; its sessions end at once.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{Deactivate, User, UserCommand};
use schemas::UserId;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::last_calls::LastCall;
use crate::refusals::problem;

/// Of its idempotency keys.
const OPERATION: &str = "deactivate";

#[utoipa::path(post, path = "/v1/users/{id}/deactivate", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.deactivate", skip_all, fields(user.id = %user))]
pub async fn deactivate(
    State(app): State<Arc<App>>,
    last: LastCall,
    Path(user): Path<UserId>,
) -> Result<Written, Problem> {
    let outcome = match last.call() {
        Ok(call) => close(&app, &call, user).await,
        Err(ended) => Err(ended),
    };
    last.or_first_answer(&app, OPERATION, &user, outcome).await
}

async fn close(app: &App, call: &Call, user: UserId) -> Result<Written, Problem> {
    let basis = app.authorise_at_latest(call, Permission::UserDeactivate).await?;
    let command = UserCommand::Deactivate(Deactivate {});
    let context = call.context(app, OPERATION, &user, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(app, &basis, &receipt)))
}
