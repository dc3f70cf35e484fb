//! GET /v1/users/{id}: a person's account.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{UserRow, user_by_id};
use schemas::{Timestamp, UserId, sealed_field as field};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::freshness::not_yet;
use crate::personal_data::PersonalData;

/// An account; what says who it is is null once the user is erased.
#[derive(Serialize, ToSchema)]
pub struct UserAnswer {
    #[schema(value_type = Uuid)]
    id: UserId,
    username: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    erased: bool,
    /// An account for a program, which has no e-mail address and no password but keys.
    is_service: bool,
    active: bool,
    email_verified: bool,
    phone_verified: bool,
    failed_login_attempts: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    locked_until: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_login_at: Option<Timestamp>,
    /// Coarse network.
    last_login_network: Option<String>,
    /// One-time passwords are a second factor.
    totp_enabled: bool,
    passkeys: i32,
}

/// A person's account
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id")),
    responses(
        (status = 200, description = "The account", body = UserAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    app.require_known(id)?;
    let (row, token) = app
        .read(id, &at_least, move |shard| Box::pin(user_by_id(shard, id)))
        .await?;
    // The log has the user, so the row is on its way.
    let row = row.ok_or_else(not_yet)?;
    let personal = app.data_keys.of(app.node.log_id(), id).await?;
    Ok((token, Json(answer(row, &personal)?)).into_response())
}

pub(super) fn answer(row: UserRow, personal: &PersonalData) -> Result<UserAnswer, Problem> {
    Ok(UserAnswer {
        id: row.id,
        username: personal.open(field::USERNAME, &row.username)?,
        email: personal.open_some(field::EMAIL, row.email.as_ref())?,
        phone_number: personal.open_some(field::PHONE_NUMBER, row.phone_number.as_ref())?,
        // Row and key tell of it by different ways; whichever came first.
        erased: personal.is_erased() || row.deleted_at.is_some(),
        is_service: row.is_service,
        active: row.is_active,
        email_verified: row.email_verified,
        phone_verified: row.phone_verified,
        failed_login_attempts: row.failed_login_attempts,
        locked_until: row.locked_until,
        created_at: row.created_at,
        updated_at: row.updated_at,
        last_login_at: row.last_login_at,
        last_login_network: row.last_login_ip,
        totp_enabled: row.totp_enabled,
        passkeys: row.passkeys,
    })
}
