//! POST /v1/users/{id}/totp/confirm: the first code makes the app a second factor.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, ConfirmTotp, User, UserCommand};
use event_log::{BusError, Receipt};
use schemas::user::{TotpEnabled, UserEvent};
use schemas::{Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::own_account::OwnAccount;
use crate::refusals::problem;
use crate::totp;

const OPERATION: &str = "confirm-totp";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTotpRequest {
    /// What the app shows.
    pub code: String,
}

/// Each stands in for the second factor once. They are not shown again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    #[schema(example = json!(["MFRG-GZDF-MZTW-Q2LK"]))]
    pub recovery_codes: Vec<String>,
}

#[utoipa::path(post, path = "/v1/users/{id}/totp/confirm", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = ConfirmTotpRequest, responses(
    (status = 200, body = WrittenBody<RecoveryCodes>, description = "Signing in takes a code from now on"),
    (status = 401, body = ProblemDetails, description = "The code does not fit"),
    (status = 409, body = ProblemDetails, description = "No enrolment waits for a code"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.confirm_totp", skip_all, fields(user.id = %user))]
pub async fn confirm_totp(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ConfirmTotpRequest>,
) -> Result<Written<RecoveryCodes>, Problem> {
    let own = app.own_account(&call, user).await?;
    if let Some(receipt) = app.first_answer(&call, user, OPERATION, &user).await? {
        return again(&app, &call, &own, &receipt, &request.code);
    }
    let now = Timestamp::now();
    let Some(enrolment) = own.state.factors.enrolment(now) else {
        return Err(problem(BusError::Refused(user::Error::NoEnrolment)));
    };
    let secret = own.seal.open(field::TOTP_SECRET, &enrolment.secret)?;
    // Whoever confirms was shown the secret: there is nothing to guess, so a slip does not count as one.
    let step = totp::step_of(&secret, &request.code, now)?;
    let totp_step = step.ok_or(ProblemType::WrongSecondFactor)?;
    let codes = app.new_recovery_codes(&own.seal, user)?;
    let command = UserCommand::ConfirmTotp(ConfirmTotp {
        secret: enrolment.secret.clone(),
        totp_step,
        session_id: own.session,
        recovery_code_nonce: codes.nonce,
        recovery_code_hashes: codes.hashes,
    });
    let context = call.context(&app, OPERATION, &user, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    answer(&app, &call, &own, &receipt)
}

/// The code that enabled it proves the same caller.
fn again(
    app: &App,
    call: &Call,
    own: &OwnAccount,
    receipt: &Receipt<UserEvent>,
    code: &str,
) -> Result<Written<RecoveryCodes>, Problem> {
    let step = enabled(receipt)?.totp_step;
    let in_use = own.state.factors.totp.as_ref();
    let secret = in_use
        .map(|totp| own.seal.open(field::TOTP_SECRET, &totp.secret))
        .transpose()?;
    match secret {
        Some(secret) if totp::is_of_step(&secret, code, step)? => answer(app, call, own, receipt),
        _ => Err(ProblemType::IdempotencyMismatch.into()),
    }
}

fn enabled(receipt: &Receipt<UserEvent>) -> Result<&TotpEnabled, Problem> {
    let event = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::TotpEnabled(event) => Some(event),
        _ => None,
    });
    event.ok_or_else(|| ProblemType::OutcomeUnknown.into())
}

fn answer(
    app: &App,
    call: &Call,
    own: &OwnAccount,
    receipt: &Receipt<UserEvent>,
) -> Result<Written<RecoveryCodes>, Problem> {
    let nonce = &enabled(receipt)?.recovery_code_nonce;
    let recovery_codes = app.recovery_codes(&own.seal, own.user, nonce)?;
    let codes = RecoveryCodes { recovery_codes };
    Ok(Written::new(codes, call.open.token(app, &[], receipt)))
}
