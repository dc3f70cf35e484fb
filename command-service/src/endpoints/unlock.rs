//! POST /v1/users/{id}/unlock: let somebody sign in before a lock ends by itself.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{Unlock, User, UserCommand};
use schemas::UserId;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(post, path = "/v1/users/{id}/unlock", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")), responses(
    (status = 200, body = WrittenBody<Empty>, description = "Sign-in is not locked; failures count from zero"),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.unlock", skip_all, fields(user.id = %user))]
pub async fn unlock(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
) -> Result<Written, Problem> {
    let basis = app.authorise_at_latest(&call, Permission::UserUnlock).await?;
    let command = UserCommand::Unlock(Unlock {});
    let context = call.context(&app, "unlock", &user, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
