//! POST /v1/users/{id}/passkeys: register a passkey.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{AddPasskey, User, UserCommand};
use schemas::user::{PasskeyAdded, UserEvent};
use schemas::{CredentialId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::params::Path;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::RegisterPublicKeyCredential;

use crate::app::App;
use crate::call::Call;
use crate::ceremonies::{Purpose, invalid};
use crate::refusals::problem;

/// Of a passkey's name, in characters.
const LONGEST_NAME: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPasskeyRequest {
    /// As it came with the options.
    pub ceremony: String,
    /// What its owner calls it: 1 to 64 characters.
    pub name: String,
    /// `PublicKeyCredential` of `navigator.credentials.create`, as its `toJSON` gives it.
    #[schema(value_type = Object)]
    pub credential: RegisterPublicKeyCredential,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AddedPasskey {
    /// Names the passkey in calls to Rolecall.
    pub credential_id: Uuid,
}

#[derive(Serialize)]
struct Fingerprint<'a> {
    user: UserId,
    ceremony: &'a str,
    name: &'a str,
}

#[utoipa::path(post, path = "/v1/users/{id}/passkeys", tag = "second factors", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "User id: the caller's own")),
    request_body = AddPasskeyRequest, responses(
    (status = 201, body = WrittenBody<AddedPasskey>, description = "Signing in takes a second factor from now on"),
    (status = 409, body = ProblemDetails, description = "It is registered already, or there are too many"),
    (status = 422, body = ProblemDetails, description = "It does not fit the ceremony, or that is over"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.add_passkey", skip_all, fields(user.id = %user))]
pub async fn add_passkey(
    State(app): State<Arc<App>>,
    call: Call,
    Path(user): Path<UserId>,
    Json(request): Json<AddPasskeyRequest>,
) -> Result<Written<AddedPasskey>, Problem> {
    let own = app.own_account(&call, user).await?;
    let name = check_name(&request.name)?;
    let ceremony = app.passkeys.ceremonies.open(&request.ceremony)?;
    let Purpose::Register {
        user: for_user,
        session,
        state,
    } = ceremony.purpose
    else {
        return Err(invalid("this ceremony registers no passkey"));
    };
    if (for_user, session) != (user, own.session) {
        return Err(invalid("this ceremony is another session's"));
    }
    let new = app.check_registration(&request.credential, &state)?;
    let added = PasskeyAdded {
        credential_id: CredentialId::new_v7(),
        credential_index: new.index,
        passkey: own.seal.seal(field::PASSKEY, &new.json)?,
        name: own.seal.seal(field::PASSKEY_NAME, name)?,
        signature_counter: new.signature_counter,
        is_backed_up: new.is_backed_up,
        ceremony_id: ceremony.id,
        session_id: session,
        added_at: Timestamp::now(),
    };
    let fingerprint = Fingerprint {
        user,
        ceremony: &request.ceremony,
        name,
    };
    let context = call.context(&app, "add-passkey", &fingerprint, Vec::new());
    let command = UserCommand::AddPasskey(Box::new(AddPasskey { added }));
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    let recorded = receipt.records.iter().find_map(|record| match &record.event {
        UserEvent::PasskeyAdded(event) => Some(event.credential_id.as_uuid()),
        _ => None,
    });
    let credential_id = recorded.ok_or(ProblemType::OutcomeUnknown)?;
    let answer = AddedPasskey { credential_id };
    Ok(Written::created(answer, call.open.token(&app, &[], &receipt)))
}

fn check_name(name: &str) -> Result<&str, Problem> {
    let name = name.trim();
    let length = name.chars().count();
    if (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(name);
    }
    Err(Problem::new(ProblemType::InvalidBody).field("name", format!("1 to {LONGEST_NAME} characters")))
}
