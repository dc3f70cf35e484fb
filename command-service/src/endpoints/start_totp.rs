//! POST /v1/users/{id}/totp: start enrolling an authenticator app.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{StartTotp, User, UserCommand};
use schemas::user::UserEvent;
use schemas::{UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;
use crate::totp;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTotpRequest {
    pub password: String,
}

/// What an authenticator app needs; not shown again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotpEnrolment {
    /// Base32, to be typed in.
    pub secret: String,
    /// The same, to be shown as a QR code.
    pub otpauth_uri: String,
    /// The first code is waited for until then.
    pub expires_at: String,
}

#[utoipa::path(post, path = "/v1/users/{id}/totp", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = StartTotpRequest, responses(
    (status = 201, body = WrittenBody<TotpEnrolment>, description = "Nothing changes before a code is confirmed"),
    (status = 401, body = ProblemDetails, description = "The password is wrong, or a second factor must be shown first"),
    (status = 423, body = ProblemDetails, description = "Too many failures; no password is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.start_totp", skip_all, fields(user.id = %user))]
pub async fn start_totp(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<StartTotpRequest>,
) -> Result<Written<TotpEnrolment>, Problem> {
    let own = app.own_account(&call, user).await?;
    app.prove_password(&call, &own, &request.password).await?;
    let secret = own.seal.seal(field::TOTP_SECRET, &totp::new_secret())?;
    let command = UserCommand::StartTotp(StartTotp {
        secret,
        session_id: own.session,
    });
    let context = call.context(&app, "start-totp", &user, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    let started = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::TotpEnrolmentStarted(event) => Some(event),
        _ => None,
    });
    let started = started.ok_or(ProblemType::OutcomeUnknown)?;
    let account = own.state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
    let username = own.seal.open(field::USERNAME, &account.username)?;
    let secret = own.seal.open(field::TOTP_SECRET, &started.secret)?;
    let enrolment = TotpEnrolment {
        otpauth_uri: totp::otpauth_uri(&secret, &app.relying_party_name, &username)?,
        secret,
        expires_at: started.expires_at.to_string(),
    };
    Ok(Written::created(enrolment, call.open.token(&app, &[], &receipt)))
}
