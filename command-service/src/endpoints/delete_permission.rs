//! DELETE /v1/permissions/{name}: delete a permission, from every role.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{Catalog, CatalogCommand, DeletePermission};
use domain::rolecall_permissions::Permission;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

#[utoipa::path(delete, path = "/v1/permissions/{name}", tag = "catalog", security(("bearer" = [])),
    params(("name" = String, Path, description = "Permission name")), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 404, body = ProblemDetails),
    (status = 409, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.permission.delete", skip_all, fields(permission = %name))]
pub async fn delete_permission(
    State(app): State<Arc<App>>,
    call: Call,
    Path(name): Path<String>,
) -> Result<Written, Problem> {
    let basis = app
        .authorise_at_latest(&call, Permission::PermissionDelete)
        .await?;
    let context = call.context(&app, "delete-permission", &name, Vec::new());
    let command = CatalogCommand::DeletePermission(DeletePermission { name });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}
