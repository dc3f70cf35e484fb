//! GET /v1/users/{id}/permissions: what a user may do, from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::access::{CompiledPermission, effective_permissions};
use domain::rolecall_permissions::Permission;
use schemas::{PermissionId, UserId};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
pub struct UserPermissionsAnswer {
    /// An inactive user may do nothing.
    active: bool,
    /// By name.
    permissions: Vec<UserPermissionAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct UserPermissionAnswer {
    #[schema(value_type = Uuid)]
    id: PermissionId,
    name: String,
    resource: String,
    action: String,
    /// Giving it takes two people.
    is_dangerous: bool,
}

impl From<&CompiledPermission> for UserPermissionAnswer {
    fn from(permission: &CompiledPermission) -> Self {
        Self {
            id: permission.id,
            name: permission.name.clone(),
            resource: permission.resource.clone(),
            action: permission.action.clone(),
            is_dangerous: permission.is_dangerous,
        }
    }
}

/// Permissions that a user has at this moment
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/permissions",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id")),
    responses(
        (status = 200, description = "The permissions", body = UserPermissionsAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_permissions(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    let token = app.basis(id);
    let (access, catalog) = app.require_known(id)?;
    let permissions = effective_permissions(&catalog, &access, app.now());
    let answer = UserPermissionsAnswer {
        active: access.is_active(),
        permissions: permissions.into_iter().map(Into::into).collect(),
    };
    Ok((token, Json(answer)).into_response())
}
