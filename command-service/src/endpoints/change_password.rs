//! POST /v1/users/{id}/password: change one's own password.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, ChangePassword, RecordLoginFailure, User, UserCommand};
use event_log::{BusError, CommandContext};
use schemas::{Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::endpoints::log_in::failure;
use crate::passwords::check_strength;
use crate::refusals::problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordRequest {
    pub current_password: String,
    /// 8 to 256 characters.
    pub new_password: String,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/users/{id}/password", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = ChangePasswordRequest, responses(
    (status = 200, body = WrittenBody<Empty>, description = "Every other session has ended"),
    (status = 401, body = ProblemDetails, description = "The current password is wrong"),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.change_password", skip_all, fields(user.id = %user))]
pub async fn change_password(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ChangePasswordRequest>,
) -> Result<Written, Problem> {
    app.await_demanded(&call).await?;
    if call.caller.user_id != user {
        return Err(Problem::new(ProblemType::Forbidden).detail("a password is changed by its owner"));
    }
    let id = user.to_string();
    let state = app.bus.inspect::<User>(&id).await.map_err(problem)?.aggregate;
    // The owner's own state is exact, where the session of the token was looked up in a tail.
    if state.session(call.caller.session_id, Timestamp::now()).is_none() {
        return Err(ProblemType::SessionEnded.into());
    }
    if let Some(until) = state.locked_at(Timestamp::now()) {
        return Err(problem(BusError::Refused(user::Error::Locked { until })));
    }
    let account = state.account.ok_or(ProblemType::NoSuchUser)?;
    let seal = app.seal_of(user).await?;
    let username = seal.open(field::USERNAME, &account.username)?;
    let email = seal.open(field::EMAIL, &account.email)?;
    check_strength(&request.new_password, &[&username, &email])?;
    let context = call.context(&app, "change-password", &Fingerprint { user }, Vec::new());
    let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
    let right = app
        .passwords
        .verify(request.current_password, phc.clone())
        .await?;
    // A retry after a lost answer brings the old password, which the first try has replaced: the
    // new one proves the same caller, and the idempotency key finds the first try's event.
    let retried = !right
        && context.idempotency.is_some()
        && app.passwords.verify(request.new_password.clone(), phc).await?;
    if !right && !retried {
        // Guessing here counts like guessing at sign-in.
        let failure = failure(&call.open, &seal, Timestamp::now())?;
        let command = UserCommand::RecordLoginFailure(RecordLoginFailure {
            failure,
            credentials: state.credentials,
        });
        let context = CommandContext {
            idempotency: None,
            ..context
        };
        app.bus
            .execute::<User>(&id, command, context)
            .await
            .map_err(problem)?;
        return Err(Problem::new(ProblemType::InvalidCredentials).detail("the current password is wrong"));
    }
    let new_hash = app.passwords.hash(request.new_password).await?;
    let command = UserCommand::ChangePassword(ChangePassword {
        password_hash: seal.seal(field::PASSWORD_HASH, &new_hash)?,
        credentials: if retried { -1 } else { state.credentials },
        keep: Some(call.caller.session_id),
    });
    let receipt = app
        .bus
        .execute::<User>(&id, command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}
