//! POST /v1/sessions/passkey: sign in with a passkey alone, which is two factors by itself: the device,
//! and what unlocked it.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, LogIn, User, UserCommand};
use event_log::BusError;
use schemas::UserId;
use schemas::user::UserLoggedIn;
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::PublicKeyCredential;

use super::log_in::{answer, known_device, login};
use crate::app::App;
use crate::call::OpenCall;
use crate::passkeys::PasskeyAnswer;
use crate::refusals::problem;
use crate::second_factor::with_both;
use crate::tokens::SessionAnswer;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyLogInRequest {
    /// As it came with the options.
    pub ceremony: String,
    /// `PublicKeyCredential` of `navigator.credentials.get`, as its `toJSON` gives it.
    #[schema(value_type = Object)]
    pub credential: PublicKeyCredential,
    /// The `device_token` of an earlier sign-in from here.
    pub device_token: Option<String>,
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    user: UserId,
    ceremony: &'a str,
}

#[utoipa::path(post, path = "/v1/sessions/passkey", tag = "sessions", request_body = PasskeyLogInRequest, responses(
    (status = 201, body = WrittenBody<SessionAnswer>),
    (status = 401, body = ProblemDetails, description = "The answer is not one of a passkey of this user's to this challenge"),
    (status = 422, body = ProblemDetails, description = "The ceremony is over, or another service's"),
    (status = 429, body = ProblemDetails, description = "Too many attempts from this network"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.passkey_log_in", skip_all)]
pub async fn passkey_log_in(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<PasskeyLogInRequest>,
) -> Result<Written<SessionAnswer>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let shown = PasskeyAnswer {
        ceremony: request.ceremony,
        credential: request.credential,
    };
    let Some(user) = app.user_of(&shown)? else {
        app.attempts.admit(call.client.address, None, None)?;
        return Err(refused());
    };
    let device = known_device(&app, request.device_token.as_deref(), Some(user));
    let refuses = |state: &User| state.account.as_ref().is_none_or(|account| account.deactivated);
    let state = app.state_of(user, refuses).await?;
    // Nothing can be guessed here: neither a lock nor what others tried for the account keeps its owner out.
    let known = device.filter(|device| state.knows(*device));
    app.attempts.admit(call.client.address, None, known)?;
    if state.account.is_none() {
        return Err(refused());
    }
    let seal = app.seal_of(user).await?;
    // So what does not fit counts against nobody either.
    let Some(checked) = app.check_passkey(&state, &seal, &shown)? else {
        metrics::counter!("passkey_answers_refused_total").increment(1);
        return Err(refused());
    };
    let login = UserLoggedIn {
        methods: with_both(checked.methods),
        factor: Some(checked.shown.factor.clone()),
        ..login(&app, &call, &seal, user, device)?
    };
    let command = UserCommand::LogIn(Box::new(LogIn {
        login,
        credentials: state.credentials,
        signature_counter: checked.shown.signature_counter,
        max_sessions: app.sessions.sessions_per_user.into(),
    }));
    let fingerprint = Fingerprint {
        user,
        ceremony: &shown.ceremony,
    };
    let context = call.context(&app, "passkey-log-in", &fingerprint, Vec::new());
    match app.bus.execute::<User>(&user.to_string(), command, context).await {
        Ok(receipt) => answer(&app, &call, &seal, user, &receipt, Some(&checked.shown.factor)),
        Err(BusError::Refused(user::Error::NoSuchFactor)) => Err(refused()),
        Err(error) => Err(problem(error)),
    }
}

fn refused() -> Problem {
    Problem::new(ProblemType::InvalidCredentials).detail("the passkey does not fit")
}

impl App {
    /// Whom an answer is about: the challenge's user, or whom the passkey itself names.
    fn user_of(&self, shown: &PasskeyAnswer) -> Result<Option<UserId>, Problem> {
        let named = self.passkeys.challenged_user(&shown.ceremony)?;
        let handle = shown.credential.get_user_unique_id();
        let of_handle = handle
            .and_then(|handle| Uuid::from_slice(handle).ok())
            .map(UserId::from);
        Ok(named.or(of_handle))
    }
}
