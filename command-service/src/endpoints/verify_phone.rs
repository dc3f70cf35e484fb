//! POST /v1/users/{id}/phone/verification and /phone/confirm: show that a phone number is one's own.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{RequestPhoneVerification, User, UserCommand, VerifyPhone};
use schemas::user::{PhoneVerificationRequested, UserEvent};
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
use crate::one_time::{code, is_code, new_nonce};
use crate::refusals::problem;

#[utoipa::path(post, path = "/v1/users/{id}/phone/verification", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")), responses(
    (status = 200, body = WrittenBody<Empty>, description = "A code is on its way, unless the number is verified already"),
    (status = 409, body = ProblemDetails, description = "The account has no phone number"),
    (status = 429, body = ProblemDetails, description = "Too many messages to this account"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.request_phone_verification", skip_all, fields(user.id = %user))]
pub async fn request_phone_verification(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
) -> Result<Written, Problem> {
    app.own(&call, user).await?;
    app.attempts
        .admit_message(call.open.client.address, Account::User(user))?;
    let seal = app.seal_of(user).await?;
    let request = PhoneVerificationRequested {
        code_id: OneTimeId::new_v7(),
        nonce: seal.seal(field::NONCE, &new_nonce())?,
        expires_at: Timestamp::now().plus(app.one_time.phone_verification()),
    };
    let command = UserCommand::RequestPhoneVerification(RequestPhoneVerification { request });
    let context = call.context(&app, "request-phone-verification", &user, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmPhoneRequest {
    /// Six digits, from the message.
    pub code: String,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/users/{id}/phone/confirm", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = ConfirmPhoneRequest, responses(
    (status = 200, body = WrittenBody<Empty>, description = "The number is verified"),
    (status = 400, body = ProblemDetails, description = "The code is wrong, used, replaced or expired, or was tried too often"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.confirm_phone", skip_all, fields(user.id = %user))]
pub async fn confirm_phone(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ConfirmPhoneRequest>,
) -> Result<Written, Problem> {
    app.own(&call, user).await?;
    app.attempts
        .admit(call.open.client.address, Some(Account::User(user)), None)?;
    let now = Timestamp::now();
    let lacks_code = |state: &User| {
        let sent = state.sent.phone_verification.as_ref();
        !sent.is_some_and(|sent| sent.is_live(now))
    };
    let context = call.context(&app, "confirm-phone", &Fingerprint { user }, Vec::new());
    let state = app.state_of(user, lacks_code).await?;
    let Some(sent) = state.sent.phone_verification else {
        // A retry after a lost answer finds the code used, and its own first try.
        return match first_try(&app, &call, user, &context).await? {
            Some(first) => Ok(first),
            None => Err(ProblemType::InvalidOneTimeToken.into()),
        };
    };
    let nonce = app.seal_of(user).await?.open(field::NONCE, &sent.nonce)?;
    let is_right = is_code(&code(&app.token_key, sent.id, &nonce), &request.code);
    let command = UserCommand::VerifyPhone(VerifyPhone {
        code_id: sent.id,
        is_right,
    });
    // A wrong code must never meet the stored answer of a right one, nor the other way round.
    let context = event_log::CommandContext {
        idempotency: context.idempotency.filter(|_| is_right),
        ..context
    };
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    let failed = |event: &UserEvent| matches!(event, UserEvent::PhoneVerificationFailed(_));
    if receipt.records.iter().any(|record| failed(&record.event)) {
        return Err(ProblemType::InvalidOneTimeToken.into());
    }
    Ok(Written::at(call.open.token(&app, &[], &receipt)))
}

async fn first_try(
    app: &App,
    call: &Call,
    user: UserId,
    context: &event_log::CommandContext,
) -> Result<Option<Written>, Problem> {
    let first = app.replayed(user, context).await?;
    Ok(first.map(|receipt| Written::at(call.open.token(app, &[], &receipt))))
}
