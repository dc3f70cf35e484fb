//! PUT /v1/roles/{role}/permissions/{permission}: give a permission to a role and all below it.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{AttachPermission, Proposal};
use domain::rolecall_permissions::Permission;
use service_kit::at_least::{Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::approvals::Changed;
use crate::call::Call;

#[utoipa::path(put, path = "/v1/roles/{role}/permissions/{permission}", tag = "catalog", security(("bearer" = [])),
    params(
        ("role" = String, Path, description = "Role name"),
        ("permission" = String, Path, description = "Permission name"),
    ), responses(
    (status = 200, body = WrittenBody<Changed>),
    (status = 202, body = WrittenBody<Changed>, description = "The permission is dangerous: a second person has to approve"),
    (status = 404, body = ProblemDetails),
    (status = 409, body = ProblemDetails, description = "A system role"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.role.attach_permission", skip_all, fields(role = %role, permission = %permission))]
pub async fn attach_permission(
    State(app): State<Arc<App>>,
    call: Call,
    Path((role, permission)): Path<(String, String)>,
) -> Result<Written<Changed>, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::PermissionAttach)
        .await?;
    app.refuse_escalation_by(call.caller, &permission)?;
    let context = call.context(
        &app,
        "attach-permission",
        &(&role, &permission),
        app.users_basis().await?,
    );
    let proposal = Proposal::AttachPermission(AttachPermission {
        role,
        permission,
        system: false,
    });
    app.propose(&call, proposal, context, &basis).await
}
