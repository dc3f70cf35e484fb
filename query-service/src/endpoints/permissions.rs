//! GET /v1/permissions: all permissions, from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::access::CompiledPermission;
use domain::rolecall_permissions::Permission;
use schemas::PermissionId;
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
pub struct PermissionsAnswer {
    /// By name.
    permissions: Vec<PermissionAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct PermissionAnswer {
    #[schema(value_type = Uuid)]
    id: PermissionId,
    name: String,
    resource: String,
    action: String,
    /// Giving it takes two people.
    is_dangerous: bool,
}

impl PermissionAnswer {
    pub fn of(permission: &CompiledPermission) -> Self {
        Self {
            id: permission.id,
            name: permission.name.clone(),
            resource: permission.resource.clone(),
            action: permission.action.clone(),
            is_dangerous: permission.is_dangerous,
        }
    }
}

/// All permissions
///
/// Needs the permission `rolecall.catalog_read`.
#[utoipa::path(
    get,
    path = "/v1/permissions",
    tag = "catalog",
    responses(
        (status = 200, description = "The permissions", body = PermissionsAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn permissions(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::CatalogRead)?;
    let token = app.catalog_basis();
    let catalog = app.node.catalog();
    let permissions = catalog.permissions().map(PermissionAnswer::of).collect();
    Ok((token, Json(PermissionsAnswer { permissions })).into_response())
}
