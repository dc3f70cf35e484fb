//! DELETE /v1/users/{id}/passkeys/{credential_id}: a passkey is no factor any more.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{RemovePasskey, User, UserCommand};
use schemas::{CredentialId, UserId};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use super::disable_totp::RemoveFactorRequest;
use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

const OPERATION: &str = "remove-passkey";

#[utoipa::path(delete, path = "/v1/users/{id}/passkeys/{credential_id}", tag = "second factors",
    security(("bearer" = [])), params(
        ("id" = uuid::Uuid, Path, description = "User id"),
        ("credential_id" = uuid::Uuid, Path, description = "As it was given when the passkey was added"),
    ),
    request_body = Option<RemoveFactorRequest>, responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 401, body = ProblemDetails, description = "The password is wrong, or a second factor must be shown first"),
    (status = 404, body = ProblemDetails),
    (status = 422, body = ProblemDetails, description = "The last second factor of a password that is too short without"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.remove_passkey", skip_all, fields(user.id = %user))]
pub async fn remove_passkey(
    State(app): State<Arc<App>>,
    call: Call,
    Path((user, credential_id)): Path<(UserId, CredentialId)>,
    OptionalJson(request): OptionalJson<RemoveFactorRequest>,
) -> Result<Written, Problem> {
    let request_of = (user, credential_id);
    // The factor it showed may be gone since then.
    if let Some(receipt) = app.first_answer(&call, user, OPERATION, &request_of).await? {
        return Ok(Written::at(call.open.token(&app, &[], &receipt)));
    }
    let (by, basis) = app.may_remove_factor(&call, user, request.into()).await?;
    let command = UserCommand::RemovePasskey(RemovePasskey { credential_id, by });
    let context = call.context(&app, OPERATION, &request_of, basis.clone());
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
