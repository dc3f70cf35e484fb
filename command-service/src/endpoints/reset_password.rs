//! POST /v1/password-resets/confirm: set a new password with the token from the mail.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{ResetPassword, User, UserCommand};
use event_log::{CommandContext, Receipt};
use schemas::user::UserEvent;
use schemas::{Actor, DeviceId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use super::change_password::sets;
use crate::app::App;
use crate::attempts::Account;
use crate::call::OpenCall;
use crate::devices::Device;
use crate::guesses::wrong_password;
use crate::new_passwords::least_length;
use crate::one_time::{OneTimeToken, Purpose};
use crate::refusals::problem;
use crate::sealing::Seal;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordRequest {
    /// From the mail.
    pub token: String,
    /// 15 to 256 characters; at least 8 for who has a second factor.
    pub new_password: String,
}

#[derive(Serialize, ToSchema)]
pub struct PasswordReset {
    /// To send along with the next sign-in: others who go on guessing do not keep it out.
    pub device_token: String,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/password-resets/confirm", tag = "users", request_body = ResetPasswordRequest, responses(
    (status = 200, body = WrittenBody<PasswordReset>, description = "Every session has ended; sign in with the new password"),
    (status = 400, body = ProblemDetails, description = "The token is wrong, used, replaced or expired"),
    (status = 422, body = ProblemDetails, description = "Weak password"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.password_reset.confirm", skip_all)]
pub async fn reset_password(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<ResetPasswordRequest>,
) -> Result<Written<PasswordReset>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let invalid = || Problem::new(ProblemType::InvalidOneTimeToken);
    // Not by the account: a token cannot be guessed, and made-up ones must not keep its owner out.
    app.attempts.admit(call.client.address, None, None)?;
    let token = OneTimeToken::parse(Purpose::ResetPassword, &request.token).ok_or_else(invalid)?;
    let (user, token_hash) = (token.user_id, token.hash());
    let call = call.by(Actor::User(user));
    let context = call.context(&app, "reset-password", &Fingerprint { user }, Vec::new());
    let is_spent = |state: &User| {
        let sent = state.sent.password_reset.as_ref();
        !sent.is_some_and(|sent| sent.is(token_hash, Timestamp::now()))
    };
    let state = app.state_of(user, is_spent).await?;
    let Some(account) = &state.account else {
        return Err(invalid());
    };
    let seal = app.seal_of(user).await?;
    if is_spent(&state) {
        // A retry after a lost answer: the password that the first try set proves the same caller.
        return match first_try(&app, &call, (&state, &seal), request.new_password, context).await? {
            Some(first) => Ok(first),
            None => Err(invalid()),
        };
    }
    app.check_new_password(&seal, account, &request.new_password, least_length(&state))
        .await?;
    let phc = app.passwords.hash(request.new_password).await?;
    let command = UserCommand::ResetPassword(ResetPassword {
        token_hash,
        password_hash: seal.seal(field::PASSWORD_HASH, &phc)?,
        device_id: DeviceId::new_v7(),
    });
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    answer(&app, &call, user, &receipt)
}

/// The same for every try that found the same event.
fn answer(
    app: &App,
    call: &OpenCall,
    user: UserId,
    receipt: &Receipt<UserEvent>,
) -> Result<Written<PasswordReset>, Problem> {
    let known = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::PasswordChanged(event) => event.known_device,
        _ => None,
    });
    let id = known.ok_or(ProblemType::OutcomeUnknown)?;
    let device_token = Device { user, id }.token(&app.token_key);
    Ok(Written::new(
        PasswordReset { device_token },
        call.token(app, &[], receipt),
    ))
}

/// Keys can be guessed, so this must not be a way to guess passwords that sign-in does not count.
async fn first_try(
    app: &Arc<App>,
    call: &OpenCall,
    (state, seal): (&User, &Seal),
    new_password: String,
    context: CommandContext,
) -> Result<Option<Written<PasswordReset>>, Problem> {
    let Some(user) = state.account.as_ref().map(|account| account.user_id) else {
        return Ok(None);
    };
    let Some(receipt) = app.replayed(user, &context).await? else {
        return Ok(None);
    };
    app.attempts
        .admit(call.client.address, Some(Account::User(user)), None)?;
    app.refuse_locked(state, None)?;
    if sets(app, seal, &receipt, new_password).await? {
        return answer(app, call, user, &receipt).map(Some);
    }
    let failure = wrong_password(call, seal, state.credentials, None)?;
    app.record_failure(user, failure, context)
        .await
        .map_err(problem)?;
    Ok(None)
}
