//! PUT /v1/permissions/{name}: define a permission, or change what it is about.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{DefinePermission, Proposal};
use domain::rolecall_permissions::Permission;
use schemas::PermissionId;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::approvals::Changed;
use crate::call::Call;

#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinePermissionRequest {
    /// Type of the resources it is about.
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    /// Giving it to anybody takes a second person's approval. So does every other permission for the same action.
    #[serde(default)]
    pub is_dangerous: bool,
}

#[utoipa::path(put, path = "/v1/permissions/{name}", tag = "catalog", security(("bearer" = [])),
    params(("name" = String, Path, description = "Permission name")), request_body = DefinePermissionRequest,
    responses(
    (status = 200, body = WrittenBody<Changed>),
    (status = 202, body = WrittenBody<Changed>, description = "It takes away or hides that something is dangerous: a second person has to approve"),
    (status = 409, body = ProblemDetails, description = "Rolecall's own permission"),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.permission.define", skip_all, fields(permission = %name))]
pub async fn define_permission(
    State(app): State<Arc<App>>,
    call: Call,
    Path(name): Path<String>,
    Json(request): Json<DefinePermissionRequest>,
) -> Result<Written<Changed>, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::PermissionDefine)
        .await?;
    let context = call.context(
        &app,
        "define-permission",
        &(&name, &request),
        app.users_basis().await?,
    );
    let proposal = Proposal::DefinePermission(DefinePermission {
        permission_id: PermissionId::new_v7(),
        name,
        resource: request.resource,
        action: request.action,
        description: request.description,
        category: request.category,
        is_dangerous: request.is_dangerous,
        system: false,
    });
    app.propose(&call, proposal, context, &basis).await
}
