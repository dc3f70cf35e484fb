//! GET /v1/permissions: all permissions, from a shard's copy of the catalog.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{PermissionRow, catalog_permissions};
use schemas::{PermissionId, Timestamp};
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
    description: Option<String>,
    category: Option<String>,
    /// Giving it takes two people.
    is_dangerous: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<PermissionRow> for PermissionAnswer {
    fn from(row: PermissionRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            resource: row.resource,
            action: row.action,
            description: row.description,
            category: row.category,
            is_dangerous: row.is_dangerous,
            created_at: row.created_at,
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
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn permissions(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::CatalogRead)?;
    let (rows, token) = app
        .read_catalog(&at_least, |shard| Box::pin(catalog_permissions(shard)))
        .await?;
    let permissions = rows.into_iter().map(Into::into).collect();
    Ok((token, Json(PermissionsAnswer { permissions })).into_response())
}
