//! DELETE /v1/users/{id}/roles/{role}: take a role away, as it was granted.

use std::sync::Arc;

use axum::extract::State;
use domain::access::CompiledCatalog;
use domain::rolecall_permissions::Permission;
use domain::user::{RevokeRole, User, UserCommand};
use schemas::{GrantScope, RoleId, UserId};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::{Path, Query};
use service_kit::problem::{Problem, ProblemDetails, ProblemType};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;
use crate::scopes::ScopeQuery;

#[utoipa::path(delete, path = "/v1/users/{id}/roles/{role}", tag = "roles", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id"), ("role" = String, Path, description = "Role name, or the id of a role, deleted or not"), ScopeQuery),
    responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 403, body = ProblemDetails),
    (status = 404, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.revoke_role", skip_all, fields(user.id = %user))]
pub async fn revoke_role(
    State(app): State<Arc<App>>,
    call: Call,
    Path((user, role)): Path<(UserId, String)>,
    Query(scope): Query<ScopeQuery>,
) -> Result<Written, Problem> {
    let basis = app.authorise_at_latest(&call, Permission::RoleRevoke).await?;
    let scope = Option::<GrantScope>::try_from(scope)?;
    let role_id = role_id(&app.node.catalog(), &role).ok_or(ProblemType::NoSuchRole)?;
    let context = match &scope {
        // As it was before there were scopes: it is the same request still.
        None => call.context(&app, "revoke-role", &(user, role_id), basis.clone()),
        Some(scope) => call.context(&app, "revoke-role", &(user, role_id, scope), basis.clone()),
    };
    let command = UserCommand::RevokeRole(RevokeRole { role_id, scope });
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}

/// By name; else by id, as the grant of a deleted role has no name any more.
fn role_id(catalog: &CompiledCatalog, role: &str) -> Option<RoleId> {
    let named = catalog.role_by_name(role).map(|role| role.id);
    named.or_else(|| role.parse().ok())
}
