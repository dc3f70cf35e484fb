//! PUT /v1/permissions/{name}: define a permission, or change what it is about.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{Catalog, CatalogCommand, DefinePermission};
use domain::rolecall_permissions::Permission;
use schemas::PermissionId;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinePermissionRequest {
    /// Type of the resources it is about.
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    #[serde(default)]
    pub is_dangerous: bool,
}

#[utoipa::path(put, path = "/v1/permissions/{name}", tag = "catalog", security(("bearer" = [])),
    params(("name" = String, Path, description = "Permission name")), request_body = DefinePermissionRequest,
    responses(
    (status = 200, body = WrittenBody<Empty>),
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
) -> Result<Written, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::PermissionDefine)
        .await?;
    let context = call.context(
        &app,
        "define-permission",
        &(&name, &request),
        app.users_basis().await?,
    );
    let command = CatalogCommand::DefinePermission(DefinePermission {
        permission_id: PermissionId::new_v7(),
        name,
        resource: request.resource,
        action: request.action,
        description: request.description,
        category: request.category,
        is_dangerous: request.is_dangerous,
        system: false,
    });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
