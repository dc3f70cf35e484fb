//! POST /v1/service-accounts/{id}/keys: a key more for a service account, shown once.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::rolecall_permissions::Permission;
use domain::user::{IssueServiceKey, User, UserCommand};
use event_log::Receipt;
use schemas::user::{ServiceKeyIssued, UserEvent};
use schemas::{KeyId, RoleId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::OptionalJson;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use service_kit::service_key::ServiceKey;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::call::Call;
use crate::endpoints::assign_role::expiry;
use crate::refusals::problem;
use crate::sealing::Seal;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueServiceKeyRequest {
    /// Names of those of the account's roles that count for who brings the key; all, later ones too, when absent.
    pub roles: Option<Vec<String>>,
    /// The key is good until then; until it is revoked when absent.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceKeyAnswer {
    pub key_id: Uuid,
    /// Shown here alone: only its hash is kept. Send it as `Authorization: Bearer`.
    #[schema(example = "rolecall_sk_...")]
    pub key: String,
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    account: UserId,
    roles: Option<&'a [RoleId]>,
    expires_at: Option<Timestamp>,
}

#[utoipa::path(post, path = "/v1/service-accounts/{id}/keys", tag = "service accounts", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The account's user id")),
    request_body = Option<IssueServiceKeyRequest>, responses(
    (status = 201, body = WrittenBody<ServiceKeyAnswer>),
    (status = 403, body = ProblemDetails, description = "A permission is missing, be it one that the key would give"),
    (status = 404, body = ProblemDetails, description = "No such service account or role"),
    (status = 409, body = ProblemDetails, description = "Too many keys, or a role that the account does not hold"),
    (status = 422, body = ProblemDetails),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.service_account.issue_key", skip_all, fields(user.id = %account))]
pub async fn issue_service_key(
    State(app): State<Arc<App>>,
    call: Call,
    Path(account): Path<UserId>,
    OptionalJson(request): OptionalJson<IssueServiceKeyRequest>,
) -> Result<Written<ServiceKeyAnswer>, Problem> {
    app.reach_latest(&call).await?;
    let basis = app.require(call.caller, Permission::ServiceKeyIssue)?;
    let state = app.state_of(account, |state| state.service.is_none()).await?;
    if state.service.is_none() {
        return Err(ProblemType::NoSuchUser.into());
    }
    let (roles, expires_at) = terms(&app, &call, &state, &request)?;
    let fingerprint = Fingerprint {
        account,
        roles: roles.as_deref(),
        expires_at,
    };
    let context = call.context(&app, "issue-service-key", &fingerprint, basis.clone());
    let seal = app.seal_of(account).await?;
    let (key_id, nonce) = (KeyId::new_v7(), Uuid::new_v4().simple().to_string());
    let key = ServiceKey::derive(&app.token_key, account, key_id, &nonce);
    let command = UserCommand::IssueServiceKey(Box::new(IssueServiceKey {
        issued: ServiceKeyIssued {
            key_id,
            nonce: seal.seal(field::NONCE, &nonce)?,
            key_hash: key.hash(),
            roles,
            expires_at,
        },
    }));
    let receipt = app
        .bus
        .execute::<User>(&account.to_string(), command, context)
        .await
        .map_err(problem)?;
    let answer = shown(&app, account, &seal, &receipt)?;
    Ok(Written::created(answer, call.open.token(&app, &basis, &receipt)))
}

/// What the key is for and until when, as far as the caller may give that.
fn terms(
    app: &App,
    call: &Call,
    state: &User,
    request: &IssueServiceKeyRequest,
) -> Result<(Option<Vec<RoleId>>, Option<Timestamp>), Problem> {
    let catalog = app.node.catalog();
    let named = |name: &String| catalog.role_by_name(name).map(|role| role.id);
    let roles = request.roles.as_ref().map(|names| {
        let mut ids = names.iter().map(named).collect::<Option<Vec<_>>>()?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    });
    let roles = roles.map(|ids| ids.ok_or(ProblemType::NoSuchRole)).transpose()?;
    let expires_at = request.expires_at.map(expiry).transpose()?;
    let now = Timestamp::now();
    let is_for = |role: &RoleId| roles.as_ref().is_none_or(|roles| roles.contains(role));
    for (grant, terms) in state.grants.iter() {
        if is_for(&grant.role_id) && terms.is_live(now) {
            app.refuse_key_beyond(call.caller, grant.role_id, expires_at)?;
        }
    }
    Ok((roles, expires_at))
}

/// The key that was issued: under an idempotency key that of the first try.
fn shown(
    app: &App,
    account: UserId,
    seal: &Seal,
    receipt: &Receipt<UserEvent>,
) -> Result<ServiceKeyAnswer, Problem> {
    let issued = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::ServiceKeyIssued(event) => Some(event),
        _ => None,
    });
    let issued = issued.ok_or(ProblemType::OutcomeUnknown)?;
    let nonce = seal.open(field::NONCE, &issued.nonce)?;
    let key = ServiceKey::derive(&app.token_key, account, issued.key_id, &nonce);
    if key.hash() != issued.key_hash {
        let other = "the key cannot be shown again: the token key is another one by now";
        return Err(Problem::new(ProblemType::Conflict).detail(other));
    }
    Ok(ServiceKeyAnswer {
        key_id: issued.key_id.as_uuid(),
        key: key.text(),
    })
}
