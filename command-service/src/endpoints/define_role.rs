//! PUT /v1/roles/{name}: define a role, or change its description or parent.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{DefineRole, Proposal};
use domain::rolecall_permissions::Permission;
use schemas::RoleId;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::approvals::Changed;
use crate::call::Call;

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefineRoleRequest {
    pub description: Option<String>,
    /// Name of the role whose permissions this one inherits.
    pub parent: Option<String>,
}

#[utoipa::path(put, path = "/v1/roles/{name}", tag = "catalog", security(("bearer" = [])),
    params(("name" = String, Path, description = "Role name")), request_body = Option<DefineRoleRequest>, responses(
    (status = 200, body = WrittenBody<Changed>),
    (status = 202, body = WrittenBody<Changed>, description = "The parent has a dangerous permission: a second person has to approve"),
    (status = 404, body = ProblemDetails, description = "No such parent"),
    (status = 409, body = ProblemDetails, description = "Cycle, or a system role"),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.role.define", skip_all, fields(role = %name))]
pub async fn define_role(
    State(app): State<Arc<App>>,
    call: Call,
    Path(name): Path<String>,
    OptionalJson(request): OptionalJson<DefineRoleRequest>,
) -> Result<Written<Changed>, Problem> {
    let basis = app.authorise_at_latest(&call, Permission::RoleDefine).await?;
    if let Some(parent) = &request.parent {
        let parent = app
            .node
            .catalog()
            .role_by_name(parent)
            .map(|role| role.id)
            .ok_or(ProblemType::NoSuchRole)?;
        app.refuse_escalation(call.caller, parent, None)?;
    }
    let context = call.context(&app, "define-role", &(&name, &request), app.users_basis().await?);
    let proposal = Proposal::DefineRole(DefineRole {
        role_id: RoleId::new_v7(),
        name,
        description: request.description,
        parent: request.parent,
        is_system_role: false,
    });
    app.propose(&call, proposal, context, &basis).await
}
