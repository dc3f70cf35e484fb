//! GET /v1/users/{id}/roles: the roles of a user, from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::access::effective_roles;
use domain::rolecall_permissions::Permission;
use schemas::{RoleId, Timestamp, UserId};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::scopes::Scope;

#[derive(Serialize, ToSchema)]
pub struct UserRolesAnswer {
    /// An inactive user keeps grants, and none of them counts.
    active: bool,
    /// By name, expired ones too; one for each scope that a role is granted under.
    roles: Vec<GrantedRole>,
    /// Names of the roles that live grants without limits inherit from.
    inherited: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct GrantedRole {
    #[schema(value_type = Uuid)]
    id: RoleId,
    name: String,
    /// The grant counts until then, exclusive.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    expired: bool,
    /// Null for a grant that counts for all resources.
    scope: Option<Scope>,
}

/// Roles of a user
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/roles",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id")),
    responses(
        (status = 200, description = "The roles", body = UserRolesAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_roles(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    let token = app.basis(id);
    let (access, catalog) = app.require_known(id)?;
    let now = app.now();
    let mut roles: Vec<_> = access
        .grants()
        .iter()
        .filter_map(|grant| {
            Some(GrantedRole {
                id: grant.role_id,
                // A deleted role gives nothing and never comes back.
                name: catalog.role(grant.role_id)?.name.clone(),
                expires_at: grant.expires_at(),
                expired: !grant.is_live(now),
                scope: grant.scope().cloned().map(Scope::from),
            })
        })
        .collect();
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    let is_granted = |id| {
        let mut everywhere = roles.iter().filter(|role| role.scope.is_none());
        everywhere.any(|role| role.id == id && !role.expired)
    };
    let effective = effective_roles(&catalog, &access, now).into_iter();
    let inherited = effective
        .filter(|role| !is_granted(role.id))
        .map(|role| role.name.clone());
    let inherited = inherited.collect();
    let answer = UserRolesAnswer {
        active: access.is_active(),
        roles,
        inherited,
    };
    Ok((token, Json(answer)).into_response())
}
