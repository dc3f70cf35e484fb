//! PATCH /v1/users/{id}: change user name, e-mail address or phone number.

use std::sync::Arc;

use axum::extract::State;
use domain::rolecall_permissions::Permission;
use domain::user::{Account, ChangeProfile, NewName, NewPhoneNumber};
use event_log::CommandContext;
use schemas::identifier::IdentifierKind;
use schemas::{BlindIndex, ClaimId, Position, Sealed, UserId, sealed_field as field};
use serde::{Deserialize, Deserializer, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use super::register::{check_phone_number, derived, malformed};
use crate::app::App;
use crate::call::Call;
use crate::names::Claim;
use crate::sealing::Seal;

/// What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProfileRequest {
    /// 3 to 64 letters, digits, dots, hyphens or underscores.
    pub username: Option<String>,
    /// Has to be verified anew.
    pub email: Option<String>,
    /// Null removes it; a new one has to be verified anew.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub phone_number: Option<Option<String>>,
    /// Needed to change one's own user name or e-mail address.
    pub current_password: Option<String>,
}

/// Tells null from a field that is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    user: UserId,
    username: Option<&'a str>,
    email: Option<&'a str>,
    changes_phone_number: bool,
    phone_number: Option<&'a str>,
}

#[utoipa::path(patch, path = "/v1/users/{id}", tag = "users", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id")),
    request_body = ChangeProfileRequest, responses(
    (status = 200, body = WrittenBody<Empty>, description = "Changed; former names are free for others"),
    (status = 401, body = ProblemDetails, description = "The current password is wrong"),
    (status = 403, body = ProblemDetails, description = "Somebody else's profile, or that of somebody with more rights"),
    (status = 404, body = ProblemDetails),
    (status = 409, body = ProblemDetails, description = "User name or e-mail is taken"),
    (status = 422, body = ProblemDetails, description = "Malformed name, or no current password"),
    (status = 423, body = ProblemDetails, description = "Too many failures; no password is checked for a while"),
    (status = 429, body = ProblemDetails, description = "Too many attempts, or too many changes of this profile in the last hour"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.change_profile", skip_all, fields(user.id = %user))]
pub async fn change_profile(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<ChangeProfileRequest>,
) -> Result<Written, Problem> {
    let basis = authorise(&app, &call, user).await?;
    let fingerprint = Fingerprint {
        user,
        username: request.username.as_deref(),
        email: request.email.as_deref(),
        changes_phone_number: request.phone_number.is_some(),
        phone_number: request.phone_number.as_ref().and_then(Option::as_deref),
    };
    let context = call.context(&app, "change-profile", &fingerprint, basis.clone());
    let seal = app.seal_of_known(user).await?;
    let (state, credentials) = if call.caller.user_id == user {
        let (state, device) = app.caller_state(&call).await?;
        let names_change = request.username.is_some() || request.email.is_some();
        if names_change {
            let password = request.current_password.clone();
            app.reauthenticate(&call, &seal, (&state, device), password, &context)
                .await?;
        }
        let credentials = names_change.then_some(state.credentials);
        (state, credentials)
    } else {
        let state = app.state_of(user, |user| user.account.is_none()).await?;
        (state, None)
    };
    if let Some(first) = first_answer(&app, &call, user, &context).await? {
        return Ok(first);
    }
    app.writes.admit_change(user)?;
    let account = state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
    let (claim, change) = wanted(&app, &seal, account, request, &context)?;
    let change = ChangeProfile {
        credentials,
        ..change
    };
    let receipt = app.change_profile(claim, change, context).await?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}

/// People change their own profile; others need a permission, and all that its owner may do in
/// Rolecall: who can change somebody's address can have the password reset.
async fn authorise(app: &App, call: &Call, user: UserId) -> Result<Vec<Position>, Problem> {
    if call.caller.user_id == user {
        call.caller.session()?;
        app.await_demanded(call).await?;
        return Ok(Vec::new());
    }
    let basis = app.authorise_at_latest(call, Permission::UserUpdate).await?;
    app.await_latest(Some(app.node.ledger(user))).await?;
    app.refuse_escalation_over(call.caller, user)?;
    Ok(basis)
}

/// The answer to an earlier try under this idempotency key. The names it claimed are taken by now.
async fn first_answer(
    app: &App,
    call: &Call,
    user: UserId,
    context: &CommandContext,
) -> Result<Option<Written>, Problem> {
    let first = app.replayed(user, context).await?;
    Ok(first.map(|receipt| Written::at(call.open.token(app, &context.basis, &receipt))))
}

/// What the request changes, without what is so already.
fn wanted(
    app: &App,
    seal: &Seal,
    account: &Account,
    request: ChangeProfileRequest,
    context: &CommandContext,
) -> Result<(Claim, ChangeProfile), Problem> {
    let claim_id = context.idempotency.map_or_else(ClaimId::new_v7, |key| {
        let parts = [key.key_digest.0.as_slice(), key.request_digest.0.as_slice()];
        derived(app.index_key.digest("profile-claim", &parts).0).into()
    });
    let mut names = Vec::new();
    let mut name = |kind, field, text: Option<String>, now: (&Sealed, BlindIndex)| {
        let Some(text) = text else { return Ok(None) };
        let index = app.index_key.index(kind, &text).map_err(malformed)?;
        let text = text.trim();
        if index == now.1 && seal.open(field, now.0)? == text {
            return Ok(None);
        }
        let is_new = index != now.1;
        if is_new {
            names.push((kind, index));
        }
        Ok::<_, Problem>(Some(NewName {
            name: seal.seal(field, text)?,
            index,
            claim_id: is_new.then_some(claim_id),
        }))
    };
    let change = ChangeProfile {
        username: name(
            IdentifierKind::Username,
            field::USERNAME,
            request.username,
            (&account.username, account.username_index),
        )?,
        email: name(
            IdentifierKind::Email,
            field::EMAIL,
            request.email,
            (&account.email, account.email_index),
        )?,
        phone_number: phone_number(seal, account, request.phone_number)?,
        credentials: None,
    };
    let claim = Claim {
        user: account.user_id,
        id: claim_id,
        names,
        shared: context.idempotency.is_some(),
    };
    Ok((claim, change))
}

fn phone_number(
    seal: &Seal,
    account: &Account,
    wanted: Option<Option<String>>,
) -> Result<Option<NewPhoneNumber>, Problem> {
    let now = account.phone_number.as_ref();
    let now = now
        .map(|number| seal.open(field::PHONE_NUMBER, number))
        .transpose()?;
    match wanted {
        None => Ok(None),
        Some(None) => Ok(now.map(|_| NewPhoneNumber::Removed)),
        Some(Some(number)) => {
            let number = check_phone_number(&number)?;
            if now.as_deref() == Some(number) {
                return Ok(None);
            }
            let sealed = seal.seal(field::PHONE_NUMBER, number)?;
            Ok(Some(NewPhoneNumber::Is(sealed)))
        }
    }
}
