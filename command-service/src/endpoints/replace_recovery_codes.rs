//! POST /v1/users/{id}/recovery-codes: new recovery codes in place of the earlier ones.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{ReplaceRecoveryCodes, User, UserCommand};
use schemas::UserId;
use schemas::user::UserEvent;
use serde::Deserialize;
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use super::confirm_totp::RecoveryCodes;
use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceRecoveryCodesRequest {
    pub password: String,
}

#[utoipa::path(post, path = "/v1/users/{id}/recovery-codes", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = ReplaceRecoveryCodesRequest, responses(
    (status = 200, body = WrittenBody<RecoveryCodes>, description = "The earlier codes are void"),
    (status = 401, body = ProblemDetails, description = "The password is wrong, or a second factor must be shown first"),
    (status = 404, body = ProblemDetails, description = "The user has no second factor"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.replace_recovery_codes", skip_all, fields(user.id = %user))]
pub async fn replace_recovery_codes(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ReplaceRecoveryCodesRequest>,
) -> Result<Written<RecoveryCodes>, Problem> {
    let own = app.own_account(&call, user).await?;
    app.prove_password(&call, &own, &request.password).await?;
    let codes = app.new_recovery_codes(&own.seal, user)?;
    let command = UserCommand::ReplaceRecoveryCodes(ReplaceRecoveryCodes {
        session_id: own.session,
        recovery_code_nonce: codes.nonce,
        recovery_code_hashes: codes.hashes,
    });
    let context = call.context(&app, "replace-recovery-codes", &user, Vec::new());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    let replaced = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::RecoveryCodesReplaced(event) => Some(event),
        _ => None,
    });
    let nonce = &replaced.ok_or(ProblemType::OutcomeUnknown)?.recovery_code_nonce;
    let recovery_codes = app.recovery_codes(&own.seal, user, nonce)?;
    let codes = RecoveryCodes { recovery_codes };
    Ok(Written::new(codes, call.open.token(&app, &[], &receipt)))
}
