//! GET /v1/users/{id}/grants: who gave a user which role, and until when.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{GrantRow, grants_of_user};
use schemas::{EventId, RoleId, Timestamp, UserId};
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
pub struct UserGrantsAnswer {
    /// By role name; those that were revoked, or whose end the log tells, are in the audit log alone.
    grants: Vec<GrantAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct GrantAnswer {
    /// The event that granted it last.
    #[schema(value_type = Uuid)]
    id: EventId,
    #[schema(value_type = Uuid)]
    role_id: RoleId,
    role: String,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// Null for what Rolecall itself granted, such as the first administrator's role.
    #[schema(value_type = Option<Uuid>)]
    granted_by: Option<UserId>,
    /// The grant counts until then, exclusive.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    expired: bool,
    /// Null for a grant that counts for all resources.
    scope: Option<Scope>,
}

/// Grants of a user, and who gave them
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/grants",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id")),
    responses(
        (status = 200, description = "The grants", body = UserGrantsAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_grants(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    app.require_known(id)?;
    let (rows, token) = app
        .read(id, &at_least, move |shard| Box::pin(grants_of_user(shard, id)))
        .await?;
    let now = app.now();
    let grants = rows.into_iter().map(|row| answer(row, now)).collect();
    Ok((token, Json(UserGrantsAnswer { grants })).into_response())
}

fn answer(row: GrantRow, now: Timestamp) -> GrantAnswer {
    GrantAnswer {
        id: row.id,
        role_id: row.role_id,
        role: row.role_name,
        granted_at: row.granted_at,
        granted_by: row.granted_by,
        expires_at: row.expires_at,
        expired: row.expires_at.is_some_and(|at| at <= now),
        scope: row.scope.map(Scope::from),
    }
}
