//! GET /v1/roles: all roles with what they give, from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::access::{CompiledCatalog, CompiledRole};
use domain::rolecall_permissions::Permission;
use schemas::RoleId;
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
pub struct RolesAnswer {
    /// A parent before its children.
    roles: Vec<RoleAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct RoleAnswer {
    #[schema(value_type = Uuid)]
    id: RoleId,
    name: String,
    /// The role it inherits from.
    parent: Option<String>,
    /// Distance from the top of its hierarchy.
    level: i32,
    /// One of Rolecall's own, which nobody changes.
    is_system_role: bool,
    /// Names of all it gives, inherited ones too.
    permissions: Vec<String>,
}

impl RoleAnswer {
    fn of(catalog: &CompiledCatalog, role: &CompiledRole) -> Self {
        let permissions = catalog.permissions_of(role);
        Self {
            id: role.id,
            name: role.name.clone(),
            parent: catalog.lineage(role).nth(1).map(|parent| parent.name.clone()),
            level: role.level,
            is_system_role: role.is_system_role,
            permissions: permissions.map(|permission| permission.name.clone()).collect(),
        }
    }
}

/// All roles
///
/// Needs the permission `rolecall.catalog_read`.
#[utoipa::path(
    get,
    path = "/v1/roles",
    tag = "catalog",
    responses(
        (status = 200, description = "The roles", body = RolesAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn roles(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::CatalogRead)?;
    let token = app.catalog_basis();
    let catalog = app.node.catalog();
    let roles = catalog
        .roles()
        .map(|role| RoleAnswer::of(&catalog, role))
        .collect();
    Ok((token, Json(RolesAnswer { roles })).into_response())
}
