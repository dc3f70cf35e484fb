//! POST /v1/sessions/passkey/options: a challenge for a passkey, to sign in or as a second factor.

use std::sync::Arc;

use axum::extract::State;
use domain::user::User;
use schemas::UserId;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;
use webauthn_rs::prelude::RequestChallengeResponse;

use super::log_in::{find, name_index, nobody};
use crate::app::App;
use crate::call::OpenCall;

/// With neither, whoever brings a passkey signs in by it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartPasskeyLogInRequest {
    pub username: Option<String>,
    pub email: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PasskeyOptions {
    /// To be sent back within five minutes, once.
    pub ceremony: String,
    /// For `navigator.credentials.get`, as `PublicKeyCredential.parseRequestOptionsFromJSON` takes it.
    #[schema(value_type = Object)]
    pub options: RequestChallengeResponse,
}

#[utoipa::path(post, path = "/v1/sessions/passkey/options", tag = "sessions",
    request_body = StartPasskeyLogInRequest, responses(
    (status = 200, body = WrittenBody<PasskeyOptions>, description = "Names that nobody has, or without a passkey, look alike"),
    (status = 429, body = ProblemDetails, description = "Too many attempts from this network"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.start_passkey", skip_all)]
pub async fn start_passkey_log_in(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<StartPasskeyLogInRequest>,
) -> Result<Written<PasskeyOptions>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let (username, email) = (request.username.as_deref(), request.email.as_deref());
    let is_named = username.is_some() || email.is_some();
    let index = if is_named {
        name_index(&app, username, email)?
    } else {
        None
    };
    // Nothing can be guessed here: what others tried for the name keeps its owner out of nothing.
    app.attempts.admit(call.client.address, None, None)?;
    let found = match index {
        Some(index) => find(&app, index).await?.map(|(user, _)| user),
        None => None,
    };
    let enrolled = match found {
        Some(user) => enrolled(&app, user).await?,
        None => vec![],
    };
    let (user, allow) = match (found, index) {
        (Some(user), _) if !enrolled.is_empty() => (Some(user), enrolled),
        // What nobody can answer: a challenge for nobody.
        (_, Some(index)) => (Some(nobody(&app, index)), app.passkeys.made_up(index)?),
        (_, None) if is_named => (Some(UserId::new_v7()), vec![]),
        (_, None) => (None, vec![]),
    };
    let (ceremony, options) = app.passkey_options(user, allow)?;
    Ok(Written::new(
        PasskeyOptions { ceremony, options },
        call.token_of(&app, []),
    ))
}

async fn enrolled(app: &App, user: UserId) -> Result<Vec<Vec<u8>>, Problem> {
    let state = app
        .state_of(user, |state: &User| state.factors.passkeys.is_empty())
        .await?;
    if state.factors.passkeys.is_empty() {
        return Ok(vec![]);
    }
    let seal = app.seal_of(user).await?;
    let passkeys = app.open_passkeys(&state, &seal)?;
    Ok(passkeys
        .iter()
        .map(|passkey| passkey.cred_id().to_vec())
        .collect())
}
