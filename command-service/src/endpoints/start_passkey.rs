//! POST /v1/users/{id}/passkeys/options: begin registering a passkey.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, MAX_PASSKEYS};
use event_log::BusError;
use schemas::{Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;
use webauthn_rs::prelude::CreationChallengeResponse;

use crate::app::App;
use crate::call::Call;
use crate::ceremonies::Purpose;
use crate::refusals::problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartPasskeyRequest {
    pub password: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PasskeyRegistrationOptions {
    /// To be sent back within five minutes, once.
    pub ceremony: String,
    /// For `navigator.credentials.create`, as `PublicKeyCredential.parseCreationOptionsFromJSON` takes it.
    #[schema(value_type = Object)]
    pub options: CreationChallengeResponse,
}

#[utoipa::path(post, path = "/v1/users/{id}/passkeys/options", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = StartPasskeyRequest, responses(
    (status = 200, body = WrittenBody<PasskeyRegistrationOptions>),
    (status = 401, body = ProblemDetails, description = "The password is wrong, or a second factor must be shown first"),
    (status = 423, body = ProblemDetails, description = "Too many failures; no password is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.start_passkey", skip_all, fields(user.id = %user))]
pub async fn start_passkey(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<StartPasskeyRequest>,
) -> Result<Written<PasskeyRegistrationOptions>, Problem> {
    let own = app.own_account(&call, user).await?;
    app.prove_password(&call, &own, &request.password).await?;
    let session = own.session;
    let refused = |error| problem(BusError::Refused(error));
    own.state.assured(session, Timestamp::now()).map_err(refused)?;
    if own.state.factors.passkeys.len() >= MAX_PASSKEYS {
        return Err(refused(user::Error::TooManyPasskeys));
    }
    let account = own.state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
    let username = own.seal.open(field::USERNAME, &account.username)?;
    let has = app.open_passkeys(&own.state, &own.seal)?;
    let (options, state) = app.passkeys.start_registration(user, &username, &has)?;
    let ceremony = app
        .passkeys
        .ceremonies
        .seal(Purpose::Register { user, session, state })?;
    let answer = PasskeyRegistrationOptions { ceremony, options };
    Ok(Written::new(answer, call.open.token_of(&app, [])))
}
