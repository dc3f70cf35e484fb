//! POST /v1/sessions: sign in with a password.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, LogIn, User, UserCommand};
use event_log::{BusError, Receipt};
use schemas::identifier::IdentifierKind;
use schemas::user::{UserEvent, UserLoggedIn};
use schemas::{BlindIndex, DeviceId, SessionId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::attempts::Account;
use crate::call::OpenCall;
use crate::devices::Device;
use crate::guesses::wrong_password;
use crate::refusals::problem;
use crate::sealing::Seal;
use crate::tokens::{Issue, SessionAnswer};

/// A password change in between makes the check stale; more often than this is no accident.
const TRIES: usize = 3;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogInRequest {
    /// Either this or `email`.
    pub username: Option<String>,
    pub email: Option<String>,
    pub password: String,
    /// The `device_token` of an earlier sign-in from here. A lock does not bind a device that is known
    /// by it; one that is garbled or of another user is ignored.
    pub device_token: Option<String>,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = LogInRequest, responses(
    (status = 201, body = WrittenBody<SessionAnswer>),
    (status = 401, body = ProblemDetails, description = "Wrong name or password"),
    (status = 423, body = ProblemDetails, description = "Too many failures; sign-in is locked for a while, except from a known device"),
    (status = 429, body = ProblemDetails, description = "Too many attempts for this account or from this network, or too many hashes to compute"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.log_in", skip_all)]
pub async fn log_in(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<LogInRequest>,
) -> Result<Written<SessionAnswer>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let index = name_index(&app, &request)?;
    let found = match index {
        Some(index) => find(&app, index).await?,
        None => None,
    };
    let token = request.device_token.as_deref();
    let device = token
        .and_then(|token| Device::of_token(&app.token_key, token))
        .filter(|device| Some(device.user) == found)
        .map(|device| device.id);
    app.attempts
        .admit(call.client.address, index.map(Account::Name), device)?;
    let Some(user) = found else {
        // Left to metrics: a log kept for ever is no place for what anybody may make up.
        metrics::counter!("password_attempts_unknown_name_total").increment(1);
        app.passwords.verify_dummy(request.password).await?;
        return Err(ProblemType::InvalidCredentials.into());
    };
    let seal = app.seal_of(user).await?;
    for _ in 0..TRIES {
        match attempt(&app, &call, &seal, (user, device), &request.password).await? {
            Some(receipt) => return answer(&app, &call, &seal, user, &receipt),
            None => tracing::debug!(user.id = %user, "The credentials changed while they were checked"),
        }
    }
    Err(ProblemType::NotApplied.into())
}

/// Nothing for what cannot be anyone's name: it is answered like an unknown one.
fn name_index(app: &App, request: &LogInRequest) -> Result<Option<BlindIndex>, Problem> {
    let index = match (&request.username, &request.email) {
        (Some(name), None) => app.index_key.index(IdentifierKind::Username, name),
        (None, Some(email)) => app.index_key.index(IdentifierKind::Email, email),
        _ => {
            return Err(Problem::new(ProblemType::InvalidBody)
                .detail("name either username or email")
                .field("username", "either this or email"));
        }
    };
    Ok(index.ok())
}

async fn find(app: &App, index: BlindIndex) -> Result<Option<UserId>, Problem> {
    let Some(holder) = app.names.holder_of(index).await? else {
        return Ok(None);
    };
    let user = app.state_of(holder, |user| user.account.is_none()).await?;
    // Without, it is a reservation whose registration never came.
    Ok(user.account.is_some().then_some(holder))
}

/// Checks the password against the credentials of this moment and records how it went; `None` when
/// they changed in between.
async fn attempt(
    app: &Arc<App>,
    call: &OpenCall,
    seal: &Seal,
    (user, device): (UserId, Option<DeviceId>),
    password: &str,
) -> Result<Option<Receipt<UserEvent>>, Problem> {
    let refuses = |state: &User| {
        let is_active = state.account.as_ref().is_some_and(|account| !account.deactivated);
        !is_active || state.locked_for(device, Timestamp::now()).is_some()
    };
    let state = app.state_of(user, refuses).await?;
    app.refuse_locked(&state, device)?;
    let Some(account) = &state.account else {
        return Err(ProblemType::InvalidCredentials.into());
    };
    let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
    let right = app.passwords.verify(password.to_owned(), phc).await?;
    if right && account.deactivated {
        return Err(ProblemType::UserDeactivated.into());
    }
    let context = call.context(app, "log-in", &Fingerprint { user }, Vec::new());
    let outcome = if right {
        let login = login(app, call, seal, user, device)?;
        let credentials = state.credentials;
        let command = UserCommand::LogIn(Box::new(LogIn {
            login,
            credentials,
            max_sessions: user::MAX_SESSIONS,
        }));
        app.bus.execute::<User>(&user.to_string(), command, context).await
    } else {
        let failure = wrong_password(call, seal, state.credentials, device)?;
        match app.record_failure(user, failure, context).await {
            Ok(()) => return Err(ProblemType::InvalidCredentials.into()),
            Err(error) => Err(error),
        }
    };
    match outcome {
        Ok(receipt) => Ok(Some(receipt)),
        Err(BusError::Refused(user::Error::CredentialsChanged)) => Ok(None),
        Err(error) => Err(problem(error)),
    }
}

fn login(
    app: &App,
    call: &OpenCall,
    seal: &Seal,
    user: UserId,
    device: Option<DeviceId>,
) -> Result<UserLoggedIn, Problem> {
    let session_id = SessionId::new_v7();
    let token = app.new_refresh_token(seal, user, session_id, user::FIRST_GENERATION)?;
    let client = seal.client(&call.client)?;
    let device_id = device.unwrap_or_else(DeviceId::new_v7);
    let expires_at = Timestamp::now().plus(app.session_ttl);
    Ok(UserLoggedIn {
        ip_network: client.ip_network,
        ip_address: client.ip_address,
        user_agent: client.user_agent,
        ..UserLoggedIn::by_password(session_id, device_id, token.nonce, token.hash, expires_at)
    })
}

fn answer(
    app: &App,
    call: &OpenCall,
    seal: &Seal,
    user: UserId,
    receipt: &Receipt<UserEvent>,
) -> Result<Written<SessionAnswer>, Problem> {
    let began = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::LoggedIn(event) => Some((&record.meta, event)),
        _ => None,
    });
    let (meta, event) = began.ok_or(ProblemType::OutcomeUnknown)?;
    let generation = (user::FIRST_GENERATION, &event.nonce);
    let answer = app.session_answer(seal, Issue::by(meta), user, event.session_id, generation)?;
    let device = Device {
        user,
        id: event.device_id,
    };
    let answer = SessionAnswer {
        device_token: Some(device.token(&app.token_key)),
        ..answer
    };
    Ok(Written::created(answer, call.token(app, &[], receipt)))
}
