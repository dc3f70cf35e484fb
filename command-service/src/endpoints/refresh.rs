//! POST /v1/sessions/refresh: exchange a refresh token for its successor.

use std::sync::Arc;

use axum::extract::State;
use domain::user::{Refresh, User, UserCommand};
use schemas::user::UserEvent;
use schemas::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::{SOON, problem};
use crate::sealing::Seal;
use crate::tokens::{Issue, RefreshToken, SessionAnswer, Standing, not_a_refresh_token};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    pub refresh_token: String,
}

/// The hash of a random token gives nothing away, unlike a password's.
#[derive(Serialize)]
struct Fingerprint {
    presented: Sha256Digest,
}

#[utoipa::path(post, path = "/v1/sessions/refresh", tag = "sessions", request_body = RefreshRequest, responses(
    (status = 200, body = WrittenBody<SessionAnswer>, description = "The token just replaced gives the same refresh token again for 10 s, so that a lost answer can be asked for once more"),
    (status = 401, body = ProblemDetails, description = "Unknown, ended or reused; reuse ends the session"),
    (status = 429, body = ProblemDetails, description = "The session was refreshed too often in the last minute"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.session.refresh", skip_all)]
pub async fn refresh(
    State(app): State<Arc<App>>,
    call: OpenCall,
    Json(request): Json<RefreshRequest>,
) -> Result<Written<SessionAnswer>, Problem> {
    app.await_at_least(&call.at_least).await?;
    let presented = RefreshToken::parse(&request.refresh_token)
        .filter(|token| app.issued(token))
        .ok_or_else(not_a_refresh_token)?;
    app.writes.admit_refresh(presented.session_id)?;
    let user = presented.user_id;
    let known = app.state_of(user, |known| known.account.is_none()).await?;
    if known.account.is_none() {
        return Err(not_a_refresh_token());
    }
    let seal = app.seal_of(user).await?;
    let generation = presented
        .generation
        .checked_add(1)
        .ok_or_else(not_a_refresh_token)?;
    let next = app.new_refresh_token(&seal, user, presented.session_id, generation)?;
    let client = seal.client(&call.client)?;
    let command = UserCommand::Refresh(Refresh {
        session_id: presented.session_id,
        presented_generation: presented.generation,
        presented_hash: presented.hash(),
        nonce: next.nonce,
        refresh_token_hash: next.hash,
        ip_network: client.ip_network,
        ip_address: client.ip_address,
        user_agent: client.user_agent,
        country_code: client.country_code,
        city: client.city,
    });
    let context = call.context(
        &app,
        "refresh",
        &Fingerprint {
            presented: presented.hash(),
        },
        Vec::new(),
    );
    let receipt = app
        .bus
        .execute::<User>(&user.to_string(), command, context)
        .await
        .map_err(problem)?;
    for record in &receipt.records {
        match &record.event {
            UserEvent::SessionRefreshed(event) => {
                let generation = (event.generation, &event.nonce);
                // An answer that is repeated after the session has ended opens nothing.
                let session = known.sessions.get(&event.session_id);
                let session = session.ok_or(ProblemType::SessionEnded)?;
                let issue = Issue::by(&record.meta, Standing::of(session, event.refreshed_at));
                let answer = app.session_answer(&seal, issue, user, event.session_id, generation)?;
                return Ok(Written::new(answer, call.token(&app, &[], &receipt)));
            }
            UserEvent::RefreshReuseDetected(_) => return Err(ProblemType::RefreshReused.into()),
            _ => {}
        }
    }
    // Nothing recorded: the token was replaced a moment ago, and whoever did that lost the answer.
    let answer = answer_again(&app, &seal, &presented, known).await?;
    Ok(Written::new(answer, call.token(&app, &[], &receipt)))
}

/// The refresh token that the first try got. Only the current generation's nonce is kept, so the
/// state must be one in which the successor of the presented token is the valid one.
async fn answer_again(
    app: &App,
    seal: &Seal,
    presented: &RefreshToken,
    before: User,
) -> Result<SessionAnswer, Problem> {
    let successor = |user: &User| {
        let session = user.session(presented.session_id, Timestamp::now())?;
        let is_next = presented.generation.checked_add(1) == Some(session.generation);
        is_next.then(|| session.clone())
    };
    let found = match successor(&before) {
        Some(found) => found,
        // The first try was under way when this one looked.
        None => {
            let id = presented.user_id.to_string();
            let now = app.bus.inspect::<User>(&id).await.map_err(problem)?;
            successor(&now.aggregate)
                .ok_or_else(|| Problem::new(ProblemType::NotApplied).retry_after(SOON))?
        }
    };
    let (user, session) = (presented.user_id, presented.session_id);
    let standing = Standing::of(&found, found.active_at.unwrap_or_else(Timestamp::now));
    let generation = (found.generation, &found.nonce);
    app.session_answer(seal, Issue::now(standing), user, session, generation)
}
