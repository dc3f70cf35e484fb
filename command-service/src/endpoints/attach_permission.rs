//! PUT /v1/roles/{role}/permissions/{permission}: give a permission to a role and all below it.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{AttachPermission, Catalog, CatalogCommand};
use domain::rolecall_permissions::Permission;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(put, path = "/v1/roles/{role}/permissions/{permission}", tag = "catalog", security(("bearer" = [])),
    params(
        ("role" = String, Path, description = "Role name"),
        ("permission" = String, Path, description = "Permission name"),
    ), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = 409, body = ProblemDetails, description = "A system role"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.role.attach_permission", skip_all, fields(role = %role, permission = %permission))]
pub async fn attach_permission(
    State(app): State<Arc<App>>,
    call: Call,
    Path((role, permission)): Path<(String, String)>,
) -> Result<Written, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::PermissionAttach)
        .await?;
    app.refuse_escalation_by(call.caller.user_id, &permission)?;
    let context = call.context(
        &app,
        "attach-permission",
        &(&role, &permission),
        app.users_basis().await?,
    );
    let command = CatalogCommand::AttachPermission(AttachPermission {
        role,
        permission,
        system: false,
    });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
