//! GET /v1/roles: all roles with what they give, from a shard's copy of the catalog.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{AttachedRow, RoleRow, catalog_roles};
use schemas::{RoleId, Timestamp, UserId};
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
    description: Option<String>,
    /// The role it inherits from.
    parent: Option<String>,
    /// Distance from the top of its hierarchy.
    level: i32,
    /// One of Rolecall's own, which nobody changes.
    is_system_role: bool,
    /// Names of all it gives, inherited ones too.
    permissions: Vec<String>,
    /// What it gives by itself; by name.
    attached: Vec<AttachedAnswer>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it, or what it gives by itself, changed last.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Null for what Rolecall itself defined.
    #[schema(value_type = Option<Uuid>)]
    created_by: Option<UserId>,
}

#[derive(Serialize, ToSchema)]
pub struct AttachedAnswer {
    permission: String,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// Null for what Rolecall itself attached.
    #[schema(value_type = Option<Uuid>)]
    granted_by: Option<UserId>,
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
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn roles(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::CatalogRead)?;
    let (rows, token) = app
        .read_catalog(&at_least, |shard| Box::pin(catalog_roles(shard)))
        .await?;
    let roles = answers(rows);
    Ok((token, Json(RolesAnswer { roles })).into_response())
}

/// Of rows in which a parent stands before its children.
fn answers(rows: Vec<RoleRow>) -> Vec<RoleAnswer> {
    let mut answers: Vec<RoleAnswer> = Vec::with_capacity(rows.len());
    let mut places: HashMap<RoleId, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        let parent = row.parent_id.and_then(|id| answers.get(*places.get(&id)?));
        let answer = RoleAnswer::of(row, parent);
        places.insert(answer.id, answers.len());
        answers.push(answer);
    }
    answers
}

impl RoleAnswer {
    fn of(row: RoleRow, parent: Option<&Self>) -> Self {
        let own = row.attached.iter().map(|it| &it.permission);
        let inherited = parent.into_iter().flat_map(|parent| &parent.permissions);
        let permissions: BTreeSet<&String> = own.chain(inherited).collect();
        Self {
            id: row.id,
            permissions: permissions.into_iter().cloned().collect(),
            name: row.name,
            description: row.description,
            parent: parent.map(|parent| parent.name.clone()),
            level: row.level,
            is_system_role: row.is_system_role,
            attached: row.attached.into_iter().map(Into::into).collect(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            created_by: row.created_by,
        }
    }
}

impl From<AttachedRow> for AttachedAnswer {
    fn from(row: AttachedRow) -> Self {
        Self {
            permission: row.permission,
            granted_at: row.granted_at,
            granted_by: row.granted_by,
        }
    }
}
