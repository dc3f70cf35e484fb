//! POST /v1/users/{id}/password: change one's own password.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{ChangePassword, User, UserCommand};
use event_log::{CommandContext, Receipt};
use schemas::user::UserEvent;
use schemas::{DeviceId, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::attempts::Account;
use crate::call::Call;
use crate::guesses::wrong_password;
use crate::new_passwords::least_length;
use crate::refusals::problem;
use crate::sealing::Seal;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordRequest {
    pub current_password: String,
    /// 15 to 256 characters, at least 8 for who has a second factor; none of the well-known passwords, and not the
    /// user's own name.
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
    (status = 422, body = ProblemDetails, description = "The new password is weak, or one of the last ones"),
    (status = 423, body = ProblemDetails, description = "Too many failures; no password is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
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
    let session_id = call.caller.session()?;
    let id = user.to_string();
    let (state, device) = app.caller_state(&call).await?;
    app.attempts
        .admit(call.open.client.address, Some(Account::User(user)), Some(device))?;
    app.refuse_locked(&state, Some(device))?;
    let account = state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
    let seal = app.seal_of(user).await?;
    let context = call.context(&app, "change-password", &Fingerprint { user }, Vec::new());
    let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
    if !app.passwords.verify(request.current_password, phc).await? {
        return retry(
            &app,
            &call,
            &seal,
            (state.credentials, device),
            request.new_password,
            context,
        )
        .await;
    }
    app.check_new_password(&seal, account, &request.new_password, least_length(&state))
        .await?;
    let new_hash = app.passwords.hash(request.new_password.clone()).await?;
    let command = UserCommand::ChangePassword(ChangePassword {
        password_hash: seal.seal(field::PASSWORD_HASH, &new_hash)?,
        credentials: state.credentials,
        keep: Some(session_id),
    });
    let receipt = app
        .bus
        .execute::<User>(&id, command, context)
        .await
        .map_err(problem)?;
    if receipt.replayed && !sets(&app, &seal, &receipt, request.new_password).await? {
        return Err(ProblemType::IdempotencyMismatch.into());
    }
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}

/// A retry after a lost answer brings the old password, which the first try has replaced: its new
/// one proves the same caller. Everybody else who brings a wrong password guesses, and guessing
/// here counts like guessing at sign-in.
async fn retry(
    app: &Arc<App>,
    call: &Call,
    seal: &Seal,
    (credentials, device): (i64, DeviceId),
    new_password: String,
    context: CommandContext,
) -> Result<Written, Problem> {
    let user = call.caller.user_id;
    let first = app.replayed(user, &context).await?;
    if let Some(receipt) = &first
        && sets(app, seal, receipt, new_password).await?
    {
        return Ok(Written::at(call.open.token(app, &[], receipt)));
    }
    let failure = wrong_password(&call.open, seal, credentials, Some(device))?;
    app.record_failure(user, failure, context)
        .await
        .map_err(problem)?;
    Err(match first {
        Some(_) => ProblemType::IdempotencyMismatch.into(),
        None => Problem::new(ProblemType::InvalidCredentials).detail("the current password is wrong"),
    })
}

/// Whether this was the change to that password.
pub(super) async fn sets(
    app: &App,
    seal: &Seal,
    receipt: &Receipt<UserEvent>,
    password: String,
) -> Result<bool, Problem> {
    let changed = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::PasswordChanged(event) => Some(event),
        _ => None,
    });
    let event = changed.ok_or(ProblemType::OutcomeUnknown)?;
    let phc = seal.open(field::PASSWORD_HASH, &event.password_hash)?;
    app.passwords.verify(password, phc).await
}
