//! POST /v1/sessions: sign in with a password, and a second factor where there is one.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, LogIn, User, UserCommand};
use event_log::{BusError, Receipt};
use schemas::identifier::IdentifierKind;
use schemas::user::{Factor, UserEvent, UserLoggedIn};
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
use crate::passkeys::PasskeyAnswer;
use crate::refusals::problem;
use crate::sealing::Seal;
use crate::second_factor::{Checked, FactorFields, Given, suspected_clone, with_both};
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
    /// One of these, if the user has a second factor: what the authenticator app shows,
    pub totp_code: Option<String>,
    /// or one of the codes that stand in for it,
    pub recovery_code: Option<String>,
    /// or the answer to options that came with 401 `second-factor-required`, or of `POST
    /// /v1/sessions/passkey/options`.
    pub passkey: Option<PasskeyAnswer>,
}

/// What is tried for one user.
struct Attempt {
    user: UserId,
    device: Option<DeviceId>,
    password: String,
    factor: Option<Given>,
    device_fingerprint: Option<String>,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = LogInRequest, responses(
    (status = 201, body = WrittenBody<SessionAnswer>),
    (status = 401, body = ProblemDetails, description = "Wrong name or password, or a second factor is needed or does not fit"),
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
    bounded(request.device_fingerprint.as_deref())?;
    let index = name_index(&app, request.username.as_deref(), request.email.as_deref())?;
    let shown = FactorFields {
        totp_code: request.totp_code,
        recovery_code: request.recovery_code,
        passkey: request.passkey,
    };
    let factor = shown.given()?;
    let found = match index {
        Some(index) => find(&app, index).await?,
        None => None,
    };
    let user = found.as_ref().map(|(user, _)| *user);
    let device = known_device(&app, request.device_token.as_deref(), user);
    // One that the user has forgotten is anybody's.
    let known = device.filter(|device| found.as_ref().is_some_and(|(_, state)| state.knows(*device)));
    app.attempts
        .admit(call.client.address, index.map(Account::Name), known)?;
    let Some(user) = user else {
        // Left to metrics: a log kept for ever is no place for what anybody may make up.
        metrics::counter!("password_attempts_unknown_name_total").increment(1);
        return Err(refuse_nobody(&app, index, request.password).await);
    };
    let seal = app.seal_of(user).await?;
    let attempt = Attempt {
        user,
        device,
        password: request.password,
        factor,
        device_fingerprint: request.device_fingerprint,
    };
    for _ in 0..TRIES {
        match attempt.once(&app, &call, &seal).await? {
            Some(answer) => return Ok(answer),
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
pub fn name_index(
    app: &App,
    username: Option<&str>,
    email: Option<&str>,
) -> Result<Option<BlindIndex>, Problem> {
    let index = match (username, email) {
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

/// The device that a token names, if it is this user's.
pub fn known_device(app: &App, token: Option<&str>, user: Option<UserId>) -> Option<DeviceId> {
    token
        .and_then(|token| Device::of_token(&app.token_key, token))
        .filter(|device| Some(device.user) == user)
        .map(|device| device.id)
}

/// Who has the name, as its ledger's owner knows them.
pub async fn find(app: &App, index: BlindIndex) -> Result<Option<(UserId, User)>, Problem> {
    let holder = app.names.proven_holder_of(index).await?;
    // Nobody is looked for like somebody, under an id that follows from the name: the time it takes must not tell.
    let asked = holder.unwrap_or_else(|| nobody(app, index));
    let user = app
        .state_of(asked, |user| holder.is_some() && user.account.is_none())
        .await?;
    // Without an account it is a reservation whose registration never came.
    let holder = holder.filter(|_| user.account.is_some());
    Ok(holder.map(|holder| (holder, user)))
}

pub fn nobody(app: &App, index: BlindIndex) -> UserId {
    let Sha256Digest(digest) = app.index_key.digest("nobody", &[&index.0.0]);
    UserId::from_uuid(Uuid::from_bytes(*digest.first_chunk().unwrap_or(&[0; 16])))
}

impl Attempt {
    /// Checks password and factor against the credentials of this moment and records how it went; `None`
    /// when they changed in between.
    async fn once(
        &self,
        app: &Arc<App>,
        call: &OpenCall,
        seal: &Seal,
    ) -> Result<Option<Written<SessionAnswer>>, Problem> {
        let refuses = |state: &User| {
            let is_active = state.account.as_ref().is_some_and(|account| !account.deactivated);
            let asks = self.factor.is_none() && state.factors.are_active();
            !is_active || asks || state.locked_for(self.device, Timestamp::now()).is_some()
        };
        let state = app.state_of(self.user, refuses).await?;
        app.refuse_locked(&state, self.device)?;
        let Some(account) = &state.account else {
            return Err(ProblemType::InvalidCredentials.into());
        };
        let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
        let verifying = app.passwords.verify(self.password.clone(), phc.clone());
        // What was guessed here a moment ago has arrived before the hash is computed, and costs no time of its own.
        let (right, ()) = tokio::join!(verifying, app.recordings.arrived(self.user));
        if !right? {
            return self
                .failed(app, call, seal, &state, ProblemType::InvalidCredentials)
                .await;
        }
        if account.deactivated {
            return Err(ProblemType::UserDeactivated.into());
        }
        let checked = match &self.factor {
            None if state.factors.are_active() => return Err(app.ask_for_factor(&state, seal)?),
            None => None,
            Some(given) => match app.check_factor(&state, seal, given)? {
                Some(checked) => Some(checked),
                None => {
                    return self
                        .failed(app, call, seal, &state, ProblemType::WrongSecondFactor)
                        .await;
                }
            },
        };
        let session = self.session(app, call, seal, &state, checked)?;
        let shown = session.login.factor.clone();
        let command = UserCommand::LogIn(Box::new(session));
        let context = call.context(app, "log-in", &Fingerprint { user: self.user }, Vec::new());
        let id = self.user.to_string();
        match app.bus.execute::<User>(&id, command, context).await {
            Err(BusError::Refused(user::Error::FactorUsedUp | user::Error::NoSuchFactor)) => {
                self.failed(app, call, seal, &state, ProblemType::WrongSecondFactor)
                    .await
            }
            Err(BusError::Refused(user::Error::CredentialsChanged)) => Ok(None),
            Err(error) => Err(problem(error)),
            Ok(receipt) => {
                app.rehash_if_outdated(self.user, &phc, account, &self.password);
                answer(app, call, seal, self.user, &receipt, shown.as_ref()).map(Some)
            }
        }
    }

    /// The session that begins, unless the user's owner finds the factor used up.
    fn session(
        &self,
        app: &App,
        call: &OpenCall,
        seal: &Seal,
        state: &User,
        checked: Option<Checked>,
    ) -> Result<LogIn, Problem> {
        let mut login = login(app, call, seal, self.user, self.device)?;
        let fingerprint = self.device_fingerprint.as_deref();
        let fingerprint = fingerprint.map(|text| seal.seal(field::DEVICE_FINGERPRINT, text));
        login.device_fingerprint = fingerprint.transpose()?;
        let mut signature_counter = None;
        if let Some(Checked { shown, methods }) = checked {
            login.methods.extend(with_both(methods));
            login.factor = Some(shown.factor);
            signature_counter = shown.signature_counter;
        }
        Ok(LogIn {
            login,
            credentials: state.credentials,
            signature_counter,
            max_sessions: app.sessions.sessions_per_user.into(),
        })
    }

    async fn failed(
        &self,
        app: &Arc<App>,
        call: &OpenCall,
        seal: &Seal,
        state: &User,
        as_what: ProblemType,
    ) -> Result<Option<Written<SessionAnswer>>, Problem> {
        let is_locked = |state: &User| state.locked_for(self.device, Timestamp::now()).is_some();
        let now = app.state_of(self.user, is_locked).await?;
        if now.credentials != state.credentials {
            return Ok(None);
        }
        app.refuse_locked(&now, self.device)?;
        let failure = wrong_password(call, seal, state.credentials, self.device)?;
        let context = call.context(app, "log-in", &Fingerprint { user: self.user }, Vec::new());
        app.record_failure_aside(self.user, failure, context).await;
        Err(as_what.into())
    }
}

pub fn login(
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

/// `shown`: the factor of this try. Under an idempotency key another one may have begun the session.
pub fn answer(
    app: &App,
    call: &OpenCall,
    seal: &Seal,
    user: UserId,
    receipt: &Receipt<UserEvent>,
    shown: Option<&Factor>,
) -> Result<Written<SessionAnswer>, Problem> {
    let began = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::LoggedIn(event) => Some((&record.meta, event)),
        _ => None,
    });
    let (meta, event) = began.ok_or_else(suspected_clone)?;
    if receipt.replayed && event.factor.as_ref() != shown {
        return Err(ProblemType::IdempotencyMismatch.into());
    }
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
