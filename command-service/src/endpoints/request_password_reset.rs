//! POST /v1/password-resets: have a token sent to an address, if an account has it.
//!
//! The answer tells nobody whether one has: it is given before anything is looked up, by what is known
//! of the request alone, and the work goes on behind it.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{self, RequestPasswordReset, User, UserCommand};
use event_log::{BusError, CommandContext};
use schemas::identifier::IdentifierKind;
use schemas::user::PasswordResetRequested;
use schemas::{BlindIndex, OneTimeId, Timestamp, UserId, sealed_field as field};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use super::register::malformed;
use crate::app::App;
use crate::attempts::Account;
use crate::call::OpenCall;
use crate::one_time::{OneTimeToken, Purpose, new_nonce};
use crate::refusals::SOON;

/// Each try waits for the ledger's next owner within its own time.
const TRIES: u32 = 5;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordResetRequest {
    pub email: String,
}

#[derive(Serialize)]
struct Fingerprint {
    user: UserId,
}

#[utoipa::path(post, path = "/v1/password-resets", tag = "users", request_body = PasswordResetRequest, responses(
    (status = 202, body = WrittenBody<Empty>, description = "If an account has this address, a mail goes out to it"),
    (status = 422, body = ProblemDetails, description = "This cannot be an address"),
    (status = 429, body = ProblemDetails, description = "Too many messages to this address, or from this network"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.password_reset.request", skip_all)]
pub async fn request_password_reset(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<PasswordResetRequest>,
) -> Result<Written, Problem> {
    app.await_at_least(&call.at_least).await?;
    let index = app.index_key.index(IdentifierKind::Email, &request.email);
    let index = index.map_err(malformed)?;
    app.attempts
        .admit_message(call.client.address, Account::Name(index))?;
    let place = Arc::clone(&app.resets).try_acquire_owned();
    let place = place.map_err(|_| Problem::new(ProblemType::Busy).retry_after(SOON))?;
    let answer = Written::accepted(Empty {}, call.token_of(&app, []));
    let behind = Arc::clone(&app);
    app.sagas.spawn(async move {
        if let Err(problem) = find_and_request(&behind, &call, index).await {
            tracing::warn!(status = %problem.status(), "A password reset could not be recorded");
        }
        drop(place);
    });
    Ok(answer)
}

async fn find_and_request(app: &App, call: &OpenCall, index: BlindIndex) -> Result<(), Problem> {
    let Some(user) = app.names.holder_of(index).await? else {
        metrics::counter!("password_resets_unknown_address_total").increment(1);
        return Ok(());
    };
    let state = app.state_of(user, |state| state.account.is_none()).await?;
    if state.account.is_none() {
        return Ok(());
    }
    let seal = app.seal_of(user).await?;
    let (token_id, nonce) = (OneTimeId::new_v7(), new_nonce());
    let token = OneTimeToken::derive(&app.token_key, Purpose::ResetPassword, user, token_id, &nonce);
    let client = seal.client(&call.client)?;
    let command = UserCommand::RequestPasswordReset(RequestPasswordReset {
        request: PasswordResetRequested {
            token_id,
            nonce: seal.seal(field::NONCE, &nonce)?,
            token_hash: token.hash(),
            expires_at: Timestamp::now().plus(app.one_time.password_reset()),
            ip_network: client.ip_network,
            ip_address: client.ip_address,
            user_agent: client.user_agent,
        },
        email_index: index,
    });
    let context = call.context(app, "request-password-reset", &Fingerprint { user }, Vec::new());
    record(app, user, command, context).await
}

/// Nobody who waits for an answer would try again.
async fn record(
    app: &App,
    user: UserId,
    command: UserCommand,
    context: CommandContext,
) -> Result<(), Problem> {
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = app
            .bus
            .execute::<User>(&user.to_string(), command.clone(), context.clone())
            .await;
        match outcome {
            Ok(_) => return Ok(()),
            // Nobody's, or nobody's any more; or another request under the same idempotency key.
            Err(BusError::Refused(
                user::Error::NotFound | user::Error::Deactivated | user::Error::ProfileChanged,
            ))
            | Err(BusError::KeyReused) => return Ok(()),
            Err(BusError::NotApplied | BusError::Busy | BusError::Unavailable) if tries < TRIES => {
                tokio::time::sleep(SOON * tries).await;
            }
            Err(error) => return Err(crate::refusals::problem(error)),
        }
    }
}
