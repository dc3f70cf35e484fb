//! GET /v1/service-accounts/{id}/keys: the keys of a service account, without anything that could be used.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{ServiceKeyRow, service_keys_of};
use schemas::{KeyId, RoleId, Timestamp, UserId};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
pub struct ServiceKeysAnswer {
    /// The newest first, those that are good no more too.
    keys: Vec<ServiceKeyAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceKeyAnswer {
    #[schema(value_type = Uuid)]
    id: KeyId,
    /// Neither revoked nor expired.
    good: bool,
    /// Ids of the account's roles that count for who brings it; null for all.
    #[schema(value_type = Option<Vec<Uuid>>)]
    roles: Option<Vec<RoleId>>,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    #[schema(value_type = Option<Uuid>)]
    issued_by: Option<UserId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

/// Keys of a service account
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/service-accounts/{id}/keys",
    tag = "users",
    params(("id" = Uuid, Path, description = "The account's user id")),
    responses(
        (status = 200, description = "The keys; none of a person", body = ServiceKeysAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn service_keys(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    app.require_known(id)?;
    let (rows, token) = app
        .read(id, &at_least, move |shard| Box::pin(service_keys_of(shard, id)))
        .await?;
    let now = app.now();
    let keys = rows.into_iter().map(|row| answer(row, now)).collect();
    Ok((token, Json(ServiceKeysAnswer { keys })).into_response())
}

fn answer(row: ServiceKeyRow, now: Timestamp) -> ServiceKeyAnswer {
    ServiceKeyAnswer {
        id: row.id,
        good: row.revoked_at.is_none() && row.expires_at.is_none_or(|at| now < at),
        roles: row.roles,
        issued_at: row.issued_at,
        issued_by: row.issued_by,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }
}
