//! DELETE /v1/service-accounts/{id}/keys/{key}: a key is good no more, from the answer on.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{RevokeServiceKey, User, UserCommand};
use schemas::{KeyId, UserId};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(delete, path = "/v1/service-accounts/{id}/keys/{key_id}", tag = "service accounts",
    security(("bearer" = [])), params(
        ("id" = uuid::Uuid, Path, description = "The account's user id"),
        ("key_id" = uuid::Uuid, Path, description = "Key id"),
    ), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 403, body = ProblemDetails),
    (status = 404, body = ProblemDetails, description = "No such service account or key"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.service_account.revoke_key", skip_all, fields(user.id = %account, key.id = %key_id))]
pub async fn revoke_service_key(
    State(app): State<Arc<App>>,
    call: Call,
    Path((account, key_id)): Path<(UserId, KeyId)>,
) -> Result<Written, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::ServiceKeyRevoke)
        .await?;
    let context = call.context(&app, "revoke-service-key", &(account, key_id), basis.clone());
    let command = UserCommand::RevokeServiceKey(RevokeServiceKey { key_id });
    let receipt = app
        .bus
        .execute::<User>(&account.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
