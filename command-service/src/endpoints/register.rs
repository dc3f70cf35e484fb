//! POST /v1/users: register a user.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use domain::rolecall_permissions::Permission;
use domain::user::User;
use event_log::{CommandContext, NewDataKey, Receipt};
use passwords::LEAST_ALONE;
use schemas::identifier::IdentifierKind;
use schemas::user::{UserEvent, UserRegistered};
use schemas::{BlindIndex, ClaimId, Idempotency, NormaliseError, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;
use uuid::{Builder, Uuid};

use crate::app::App;
use crate::call::OpenCall;
use crate::config::Registration;
use crate::guesses::wrong_password;
use crate::passwords::check_strength;
use crate::refusals::problem;

/// Other registrations that may fail under one idempotency key.
const FAILURES_OF_KEY: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// 3 to 64 letters, digits, dots, hyphens or underscores.
    pub username: String,
    pub email: String,
    /// 15 to 256 characters, none of the well-known passwords, and not the user's own name.
    pub password: String,
    pub phone_number: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Registered {
    pub user_id: Uuid,
}

/// A user to be, in plain.
pub struct NewUser {
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub username: String,
    pub email: String,
    pub phone_number: Option<String>,
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    username: &'a str,
    email: &'a str,
    phone_number: Option<&'a str>,
}

#[utoipa::path(post, path = "/v1/users", tag = "users", request_body = RegisterRequest, responses(
    (status = 201, body = WrittenBody<Registered>),
    (status = 409, body = ProblemDetails, description = "User name or e-mail is taken"),
    (status = 422, body = ProblemDetails, description = "Weak password or malformed name"),
    (status = 423, body = ProblemDetails, description = "Repeated with wrong passwords too often"),
    (status = 429, body = ProblemDetails, description = "Too many registrations from this network"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.register", skip_all)]
pub async fn register(
    State(app): State<Arc<App>>,
    call: OpenCall,
    headers: HeaderMap,
    Json(request): Json<RegisterRequest>,
) -> Result<Written<Registered>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let call = authorise(&app, call, &headers).await?;
    app.attempts.admit(call.client.address, None, None)?;
    check_strength(
        &request.password,
        LEAST_ALONE,
        &[&request.username, &request.email],
    )?;
    let fingerprint = Fingerprint {
        username: &request.username,
        email: &request.email,
        phone_number: request.phone_number.as_deref(),
    };
    let context = call.context(&app, "register", &fingerprint, Vec::new());
    let (mut user_id, claim_id) = ids(&app, context.idempotency, OF_REGISTRATION);
    if context.idempotency.is_none()
        && let Ok(email) = app.index_key.index(IdentifierKind::Email, &request.email)
    {
        user_id = app.names.user_beside(email);
    }
    if let Some(receipt) = app.replayed(user_id, &context).await? {
        check_replay(&app, &call, user_id, request.password, context).await?;
        return Ok(answer(&app, &call, user_id, &receipt));
    }
    if context.idempotency.is_some() {
        refuse_spent_key(&app, user_id).await?;
    }
    let password = request.password.clone();
    let new_user = NewUser {
        user_id,
        claim_id,
        username: request.username,
        email: request.email,
        phone_number: request.phone_number,
    };
    let (registered, key) = registration(&app, &new_user, request.password).await?;
    let with_key = CommandContext {
        new_data_key: Some(key),
        ..context.clone()
    };
    let shared = context.idempotency.is_some();
    let receipt = app.register(registered, with_key, shared).await?;
    // Another try under the same key may have come first in the meantime, with a password of its own.
    if receipt.replayed || receipt.records.is_empty() {
        check_replay(&app, &call, user_id, password, context).await?;
    }
    Ok(answer(&app, &call, user_id, &receipt))
}

/// Each failure under a key stays with the user that the key names.
async fn refuse_spent_key(app: &App, user: UserId) -> Result<(), Problem> {
    let is_spent = |state: &User| state.account.is_none() && state.abandoned_claims.len() >= FAILURES_OF_KEY;
    if is_spent(&app.state_of(user, is_spent).await?) {
        let detail = "too many registrations have failed under this key: take a new one";
        return Err(Problem::new(ProblemType::Conflict).detail(detail));
    }
    Ok(())
}

fn answer(app: &App, call: &OpenCall, user: UserId, receipt: &Receipt<UserEvent>) -> Written<Registered> {
    let user_id = user.as_uuid();
    Written::created(Registered { user_id }, call.token(app, &[], receipt))
}

/// The first try's answer is for whoever knows the password that it set: another password under the
/// same key is another request. Keys can be guessed, so this must not be a way to guess passwords
/// that sign-in does not count.
async fn check_replay(
    app: &Arc<App>,
    call: &OpenCall,
    user: UserId,
    password: String,
    context: CommandContext,
) -> Result<(), Problem> {
    let refuses =
        |state: &User| state.account.is_none() || state.locked_for(None, Timestamp::now()).is_some();
    let state = app.state_of(user, refuses).await?;
    app.refuse_locked(&state, None)?;
    let account = state.account.ok_or(ProblemType::Conflict)?;
    let seal = app.seal_of(user).await?;
    let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
    if app.passwords.verify(password, phc).await? {
        return Ok(());
    }
    let failure = wrong_password(call, &seal, state.credentials, None)?;
    app.record_failure(user, failure, context)
        .await
        .map_err(problem)?;
    Err(ProblemType::IdempotencyMismatch.into())
}

/// Only where registration is closed does it matter who calls.
async fn authorise(app: &App, call: OpenCall, headers: &HeaderMap) -> Result<OpenCall, Problem> {
    if app.registration == Registration::Open {
        return Ok(call);
    }
    let caller = Caller::from_headers(headers, app).await?;
    let caller = caller.ok_or(ProblemType::Unauthenticated)?;
    if app.holds(caller, Permission::UserRegister) {
        return Ok(call.by(caller.actor()));
    }
    Err(ProblemType::Forbidden.into())
}

pub const OF_REGISTRATION: [&str; 2] = ["registration-user", "registration-claim"];

/// Of a user to be, and of the claim on both names. With a key they follow from it, so that a retry meets the same ledger
/// and the same claim.
/// `purposes` keep the keys of other calls apart: that of the user's id, and that of the claim's.
pub fn ids(app: &App, idempotency: Option<Idempotency>, purposes: [&'static str; 2]) -> (UserId, ClaimId) {
    let Some(key) = idempotency else {
        return (UserId::new_v7(), ClaimId::new_v7());
    };
    let [user, claim] = purposes;
    let of = |purpose, parts: &[&[u8]]| derived(app.index_key.digest(purpose, parts).0);
    let (key, request) = (key.key_digest.0.as_slice(), key.request_digest.0.as_slice());
    // Another request under the same key must not hold what the first one claimed.
    (of(user, &[key]).into(), of(claim, &[key, request]).into())
}

/// An id that follows from what was digested.
pub fn derived(digest: [u8; 32]) -> Uuid {
    let (bytes, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Builder::from_custom_bytes(*bytes).into_uuid()
}

/// The event of a new user with this password.
pub async fn registration(
    app: &App,
    new: &NewUser,
    password: String,
) -> Result<(UserRegistered, NewDataKey), Problem> {
    // What is wrong with the names is known before anything is hashed.
    indexes(app, new)?;
    let hash = app.passwords.hash(password).await?;
    sealed_registration(app, new, &hash)
}

/// Of e-mail address and user name.
fn indexes(app: &App, new: &NewUser) -> Result<(BlindIndex, BlindIndex), Problem> {
    let index = |kind, value: &str| app.index_key.index(kind, value).map_err(malformed);
    Ok((
        index(IdentifierKind::Email, &new.email)?,
        index(IdentifierKind::Username, &new.username)?,
    ))
}

/// The event of a new user: names indexed, everything personal encrypted under a key made for this user, which comes
/// along wrapped.
pub fn sealed_registration(
    app: &App,
    new: &NewUser,
    password_hash: &str,
) -> Result<(UserRegistered, NewDataKey), Problem> {
    let (email_index, username_index) = indexes(app, new)?;
    let user_id = new.user_id;
    let (seal, key) = app.new_seal(user_id)?;
    let phone_number = new.phone_number.as_deref().map(check_phone_number).transpose()?;
    let registered = UserRegistered {
        user_id,
        claim_id: new.claim_id,
        username: seal.seal(field::USERNAME, new.username.trim())?,
        username_index,
        email: seal.seal(field::EMAIL, new.email.trim())?,
        email_index,
        phone_number: phone_number
            .map(|number| seal.seal(field::PHONE_NUMBER, number))
            .transpose()?,
        password_hash: seal.seal(field::PASSWORD_HASH, password_hash)?,
        email_verified: false,
        phone_verified: false,
    };
    Ok((registered, key))
}

pub fn malformed(error: NormaliseError) -> Problem {
    let kind = match error {
        NormaliseError::Email => ProblemType::InvalidEmail,
        NormaliseError::Username => ProblemType::InvalidUsername,
    };
    Problem::new(kind).detail(error.to_string())
}

pub fn check_phone_number(number: &str) -> Result<&str, Problem> {
    let number = number.trim();
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let clean = number.chars().all(|c| c.is_ascii_digit() || "+-() .".contains(c));
    if (5..=15).contains(&digits) && clean && number.len() <= 32 {
        return Ok(number);
    }
    Err(Problem::new(ProblemType::InvalidBody).field("phone_number", "5 to 15 digits, such as +49 30 123456"))
}
