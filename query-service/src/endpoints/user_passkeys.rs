//! GET /v1/users/{id}/passkeys: what somebody can sign in with besides a password.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::queries::{PasskeyRow, passkeys_of_user};
use schemas::{CredentialId, Timestamp, UserId, sealed_field as field};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::personal_data::PersonalData;

#[derive(Serialize, ToSchema)]
pub struct PasskeysAnswer {
    passkeys: Vec<PasskeyAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct PasskeyAnswer {
    #[schema(value_type = Uuid)]
    credential_id: CredentialId,
    /// What its owner calls it.
    name: Option<String>,
    /// It may be synchronised between devices.
    backed_up: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// Passkeys of a user, newest first
///
/// Needs the permission `rolecall.user_read`, except for one's own.
#[utoipa::path(
    get,
    path = "/v1/users/{id}/passkeys",
    tag = "users",
    params(("id" = Uuid, Path, description = "User id")),
    responses(
        (status = 200, description = "The passkeys", body = PasskeysAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "No such user", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or the shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn user_passkeys(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Path(id): Path<UserId>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require_unless_self(caller, id, Permission::UserRead)?;
    app.require_known(id)?;
    let read = app.read(id, &at_least, move |shard| Box::pin(passkeys_of_user(shard, id)));
    let (rows, token) = read.await?;
    let personal = app.data_keys.of(app.node.log_id(), id).await?;
    let passkeys = rows.into_iter().map(|row| answer(row, &personal));
    let answer = PasskeysAnswer {
        passkeys: passkeys.collect::<Result<_, _>>()?,
    };
    Ok((token, Json(answer)).into_response())
}

fn answer(row: PasskeyRow, personal: &PersonalData) -> Result<PasskeyAnswer, Problem> {
    Ok(PasskeyAnswer {
        credential_id: row.id,
        name: personal.open(field::PASSKEY_NAME, &row.name)?,
        backed_up: row.is_backed_up,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
    })
}
