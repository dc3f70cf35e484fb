//! POST /v1/sessions: sign in with a password.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, LogIn, User, UserCommand};
use event_log::{BusError, Receipt};
use schemas::identifier::IdentifierKind;
use schemas::user::{UserEvent, UserLoggedIn};
use schemas::{BlindIndex, DeviceId, SessionId, Sha256Digest, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::attempts::Account;
use crate::call::OpenCall;
use crate::devices::Device;
use crate::guesses::wrong_password;
use crate::refusals::problem;
use crate::sealing::Seal;
use crate::tokens::{Issue, SessionAnswer, Standing};

/// A password change in between makes the check stale; more often than this is no accident.
const TRIES: usize = 3;
/// Bytes of a device's fingerprint.
const MAX_FINGERPRINT: usize = 512;

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
    /// What the client makes out of the device it runs on, at most 512 bytes. Kept encrypted.
    #[schema(max_length = 512)]
    pub device_fingerprint: Option<String>,
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
    bounded(request.device_fingerprint.as_deref())?;
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
        return Err(refuse_nobody(&app, index, request.password).await);
    };
    let seal = app.seal_of(user).await?;
    for _ in 0..TRIES {
        match attempt(&app, &call, &seal, (user, device), &request).await? {
            Some(receipt) => return answer(&app, &call, &seal, user, &receipt),
            None => tracing::debug!(user.id = %user, "The credentials changed while they were checked"),
        }
    }
    Err(ProblemType::NotApplied.into())
}

/// As the owner of the name would be refused, if there were one.
async fn refuse_nobody(app: &App, index: Option<BlindIndex>, password: String) -> Problem {
    if let Some(Err(locked)) = index.map(|index| app.refuse_locked_decoy(index)) {
        return locked;
    }
    if let Err(busy) = app.passwords.verify_dummy(password).await {
        return busy;
    }
    if let Some(index) = index {
        app.decoys.fail(index, Timestamp::now());
    }
    ProblemType::InvalidCredentials.into()
}

fn bounded(device_fingerprint: Option<&str>) -> Result<(), Problem> {
    if device_fingerprint.is_none_or(|text| text.len() <= MAX_FINGERPRINT) {
        return Ok(());
    }
    Err(Problem::new(ProblemType::InvalidBody)
        .detail("device_fingerprint is too long")
        .field("device_fingerprint", "at most 512 bytes"))
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
    let holder = app.proven_holder_of(index).await?;
    // Nobody is looked for like somebody, under an id that follows from the name: the time it takes must not tell.
    let asked = holder.unwrap_or_else(|| nobody(app, index));
    let user = app
        .state_of(asked, |user| holder.is_some() && user.account.is_none())
        .await?;
    // Without an account it is a reservation whose registration never came.
    Ok(holder.filter(|_| user.account.is_some()))
}

fn nobody(app: &App, index: BlindIndex) -> UserId {
    let Sha256Digest(digest) = app.index_key.digest("nobody", &[&index.0.0]);
    UserId::from_uuid(Uuid::from_bytes(*digest.first_chunk().unwrap_or(&[0; 16])))
}

/// Checks the password against the credentials of this moment and records how it went; `None` when
/// they changed in between.
async fn attempt(
    app: &Arc<App>,
    call: &OpenCall,
    seal: &Seal,
    (user, device): (UserId, Option<DeviceId>),
    request: &LogInRequest,
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
    let verifying = app.passwords.verify(request.password.clone(), phc.clone());
    // What was guessed here a moment ago has arrived before the hash is computed, and costs no time of its own.
    let (right, ()) = tokio::join!(verifying, app.recordings.arrived(user));
    let right = right?;
    if right && account.deactivated {
        return Err(ProblemType::UserDeactivated.into());
    }
    let context = call.context(app, "log-in", &Fingerprint { user }, Vec::new());
    let outcome = if right {
        let fingerprint = request.device_fingerprint.as_deref();
        let fingerprint = fingerprint.map(|text| seal.seal(field::DEVICE_FINGERPRINT, text));
        let login = UserLoggedIn {
            device_fingerprint: fingerprint.transpose()?,
            ..login(app, call, seal, user, device)?
        };
        let credentials = state.credentials;
        let command = UserCommand::LogIn(Box::new(LogIn {
            login,
            credentials,
            max_sessions: app.sessions.sessions_per_user.into(),
        }));
        app.bus.execute::<User>(&user.to_string(), command, context).await
    } else {
        let is_locked = |state: &User| state.locked_for(device, Timestamp::now()).is_some();
        let now = app.state_of(user, is_locked).await?;
        if now.credentials != state.credentials {
            return Ok(None);
        }
        app.refuse_locked(&now, device)?;
        let failure = wrong_password(call, seal, state.credentials, device)?;
        app.record_failure_aside(user, failure, context).await;
        return Err(ProblemType::InvalidCredentials.into());
    };
    match outcome {
        Ok(receipt) => {
            app.rehash_if_outdated(user, &phc, account, &request.password);
            Ok(Some(receipt))
        }
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
    let expires_at = Timestamp::now().plus(app.sessions.ttl());
    Ok(UserLoggedIn {
        ip_network: client.ip_network,
        ip_address: client.ip_address,
        user_agent: client.user_agent,
        country_code: client.country_code,
        city: client.city,
        idle_timeout: app.sessions.idle_timeout(),
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
    let issue = Issue::by(meta, Standing::begun_by(event));
    let answer = app.session_answer(seal, issue, user, event.session_id, generation)?;
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
