//! POST /oauth/revoke: RFC 7009 token revocation, by refresh token, access token or key of a service account.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use domain::user::{self, RevokeServiceKey, RevokeSession, User, UserCommand};
use event_log::BusError;
use schemas::user::RevokeReason;
use schemas::{SessionId, Timestamp, UserId};
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::auth::is_good_key;
use service_kit::json::unreadable;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use service_kit::service_key::ServiceKey;
use utoipa::ToSchema;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::problem;
use crate::tokens::RefreshToken;

/// Of its idempotency keys.
const OPERATION: &str = "oauth-revoke";

#[derive(Deserialize, ToSchema)]
pub struct RevokeRequest {
    /// A refresh token or an access token: with either the whole session ends. Or a key of a service account, which is
    /// good no more.
    pub token: String,
    /// Not needed: they are told apart by themselves.
    #[serde(rename = "token_type_hint")]
    pub _token_type_hint: Option<String>,
}

/// The holder of a token may end its session, and whoever holds a key may have it revoked; who presents anything else
/// learns nothing (RFC 7009, section 2.2: an invalid token is answered 200).
#[utoipa::path(post, path = "/oauth/revoke", tag = "sessions",
    request_body(content = RevokeRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = WrittenBody<Empty>, description = "Revoked, or nothing that could be"),
    (status = 429, body = ProblemDetails, description = "Too many wrong keys for the account of this one"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.oauth.revoke", skip_all)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    call: OpenCall,
    form: Result<Form<RevokeRequest>, FormRejection>,
) -> Result<Written, Problem> {
    let Form(request) = form.map_err(|rejection| refused(&rejection))?;
    if let Some(key) = ServiceKey::parse(&request.token) {
        return revoke_key(&app, &call, &key).await;
    }
    let nothing = Written::at(call.token_of(&app, []));
    let Some((user, session_id)) = session_of(&app, &request.token) else {
        return Ok(nothing);
    };
    let reason = RevokeReason::Logout;
    let command = UserCommand::RevokeSession(RevokeSession { session_id, reason });
    let context = call.context(&app, OPERATION, &session_id, Vec::new());
    match app.bus.execute::<User>(&user.to_string(), command, context).await {
        Ok(receipt) => Ok(Written::at(call.token(&app, &[], &receipt))),
        Err(BusError::Refused(user::Error::NoSuchSession | user::Error::NotFound)) => Ok(nothing),
        Err(error) => Err(problem(error)),
    }
}

/// One that was found is revoked by whoever found it.
async fn revoke_key(app: &App, call: &OpenCall, key: &ServiceKey) -> Result<Written, Problem> {
    let (account, key_id) = (key.user_id, key.key_id);
    let context = call.context(app, OPERATION, &key_id, Vec::new());
    // Of an account that is deactivated too: its keys come back with it.
    let is_its_key = is_good_key(key, app).await? || app.node.has_key_of(account, key_id, key.hash());
    let receipt = if is_its_key {
        let command = UserCommand::RevokeServiceKey(RevokeServiceKey { key_id });
        let id = account.to_string();
        match app.bus.execute::<User>(&id, command, context).await {
            Ok(receipt) => Some(receipt),
            Err(BusError::Refused(user::Error::NoSuchKey | user::Error::NotFound)) => None,
            Err(error) => return Err(problem(error)),
        }
    } else {
        // This may be a retry of the call that revoked it.
        app.replayed(account, &context).await?
    };
    Ok(Written::at(match receipt {
        Some(receipt) => call.token(app, &[], &receipt),
        None => call.token_of(app, []),
    }))
}

/// Whose session a token of ours belongs to.
fn session_of(app: &App, token: &str) -> Option<(UserId, SessionId)> {
    if let Some(token) = RefreshToken::parse(token) {
        return app.issued(&token).then_some((token.user_id, token.session_id));
    }
    let claims = app.verifier.verify(token, Timestamp::now()).ok()?;
    Some((claims.user_id, claims.session_id))
}

/// OAuth clients look for `error`; the rest is as everywhere.
fn refused(rejection: &FormRejection) -> Problem {
    let problem = match rejection {
        FormRejection::InvalidFormContentType(_) => Problem::new(ProblemType::UnsupportedMediaType)
            .detail("send the body with Content-Type: application/x-www-form-urlencoded"),
        FormRejection::BytesRejection(error) => unreadable(error),
        _ => Problem::new(ProblemType::InvalidParameter).detail("send one form field token"),
    };
    problem.extension("error", "invalid_request")
}
