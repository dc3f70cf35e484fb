//! POST /v1/users/{id}/email/verification and /email/confirm: show that an address is one's own.
//!
//! Confirming needs an access token beside the one from the mail: else whoever registers with somebody
//! else's address would have it verified by the owner's click.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{RequestEmailVerification, User, UserCommand, VerifyEmail};
use schemas::user::EmailVerificationRequested;
use schemas::{OneTimeId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::attempts::Account;
use crate::call::Call;
use crate::one_time::{OneTimeToken, Purpose, new_nonce};
use crate::refusals::problem;

#[utoipa::path(post, path = "/v1/users/{id}/email/verification", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")), responses(
    (status = 200, body = WrittenBody<Empty>, description = "A mail is on its way, unless the address is verified already"),
    (status = 429, body = ProblemDetails, description = "Too many messages to this account"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.request_email_verification", skip_all, fields(user.id = %user))]
pub async fn request_email_verification(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
) -> Result<Written, Problem> {
    app.own(&call, user).await?;
    app.attempts
        .admit_message(call.open.client.address, Account::User(user))?;
    let (state, _) = app.caller_state(&call).await?;
    let account = state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
    let seal = app.seal_of(user).await?;
    let (token_id, nonce) = (OneTimeId::new_v7(), new_nonce());
    let token = OneTimeToken::derive(&app.token_key, Purpose::VerifyEmail, user, token_id, &nonce);
    let request = EmailVerificationRequested {
        token_id,
        email_index: account.email_index,
        nonce: seal.seal(field::NONCE, &nonce)?,
        token_hash: token.hash(),
        expires_at: Timestamp::now().plus(app.one_time.email_verification()),
    };
    let command = UserCommand::RequestEmailVerification(RequestEmailVerification { request });
    let context = call.context(&app, "request-email-verification", &user, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmEmailRequest {
    /// From the mail.
    pub token: String,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/users/{id}/email/confirm", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = ConfirmEmailRequest, responses(
    (status = 200, body = WrittenBody<Empty>, description = "The address is verified"),
    (status = 400, body = ProblemDetails, description = "The token is wrong, used, replaced or expired"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.confirm_email", skip_all, fields(user.id = %user))]
pub async fn confirm_email(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ConfirmEmailRequest>,
) -> Result<Written, Problem> {
    app.own(&call, user).await?;
    app.attempts
        .admit(call.open.client.address, Some(Account::User(user)), None)?;
    let token = OneTimeToken::parse(Purpose::VerifyEmail, &request.token);
    let token = token.filter(|token| token.user_id == user);
    let token_hash = token.ok_or(ProblemType::InvalidOneTimeToken)?.hash();
    let command = UserCommand::VerifyEmail(VerifyEmail { token_hash });
    let context = call.context(&app, "confirm-email", &Fingerprint { user }, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}
