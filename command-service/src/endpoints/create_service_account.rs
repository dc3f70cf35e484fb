//! POST /v1/service-accounts: an account for a program, which signs in with keys.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use event_log::CommandContext;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::call::Call;
use crate::endpoints::register::ids;

const IDS: [&str; 2] = ["service-account-user", "service-account-claim"];

#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceAccountRequest {
    /// As a user name, of which it is one: 3 to 64 letters, digits, dots, hyphens or underscores.
    pub name: String,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceAccountCreatedAnswer {
    /// It is granted roles, deactivated and asked about like any user.
    pub user_id: Uuid,
}

#[utoipa::path(post, path = "/v1/service-accounts", tag = "service accounts", security(("bearer" = [])),
    request_body = CreateServiceAccountRequest, responses(
    (status = 201, body = WrittenBody<ServiceAccountCreatedAnswer>),
    (status = 403, body = ProblemDetails),
    (status = 409, body = ProblemDetails, description = "The name is taken"),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.service_account.create", skip_all)]
pub async fn create_service_account(
    State(app): State<Arc<App>>,
    call: Call,
    Json(request): Json<CreateServiceAccountRequest>,
) -> Result<Written<ServiceAccountCreatedAnswer>, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::ServiceAccountCreate)
        .await?;
    let context = call.context(&app, "create-service-account", &request, basis.clone());
    let (user_id, claim_id) = ids(&app, context.idempotency, IDS);
    let written = |receipt| {
        let user_id = user_id.as_uuid();
        let token = call.open.token(&app, &basis, &receipt);
        Written::created(ServiceAccountCreatedAnswer { user_id }, token)
    };
    if let Some(receipt) = app.replayed(user_id, &context).await? {
        return Ok(written(receipt));
    }
    let (created, key) = app.service_creation(user_id, claim_id, &request.name)?;
    let shared = context.idempotency.is_some();
    let context = CommandContext {
        new_data_key: Some(key),
        ..context
    };
    let receipt = app.create_service_account(created, context, shared).await?;
    Ok(written(receipt))
}
