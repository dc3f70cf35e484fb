//! DELETE /v1/users/{id}/totp: one-time passwords are no factor any more.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{DisableTotp, User, UserCommand};
use schemas::UserId;
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::passkeys::PasskeyAnswer;
use crate::refusals::problem;
use crate::removing_factors::Removal;
use crate::second_factor::FactorFields;

const OPERATION: &str = "disable-totp";

/// What the owner of a factor shows to take it away. An administrator sends no body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFactorRequest {
    pub password: Option<String>,
    /// One of these, unless the session has shown a second factor within the last ten minutes.
    pub totp_code: Option<String>,
    pub recovery_code: Option<String>,
    pub passkey: Option<PasskeyAnswer>,
}

impl From<RemoveFactorRequest> for Removal {
    fn from(request: RemoveFactorRequest) -> Self {
        Self {
            password: request.password,
            factor: FactorFields {
                totp_code: request.totp_code,
                recovery_code: request.recovery_code,
                passkey: request.passkey,
            },
        }
    }
}

#[utoipa::path(delete, path = "/v1/users/{id}/totp", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")),
    request_body = Option<RemoveFactorRequest>, responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 401, body = ProblemDetails, description = "The password is wrong, or a second factor must be shown first"),
    (status = 422, body = ProblemDetails, description = "The last second factor of a password that is too short without"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.disable_totp", skip_all, fields(user.id = %user))]
pub async fn disable_totp(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    OptionalJson(request): OptionalJson<RemoveFactorRequest>,
) -> Result<Written, Problem> {
    // The factor it showed is gone since then.
    if let Some(receipt) = app.first_answer(&call, user, OPERATION, &user).await? {
        return Ok(Written::at(call.open.token(&app, &[], &receipt)));
    }
    let (by, basis) = app.may_remove_factor(&call, user, request.into()).await?;
    let command = UserCommand::DisableTotp(DisableTotp { by });
    let context = call.context(&app, OPERATION, &user, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
