//! POST /oauth/revoke: RFC 7009 token revocation, by refresh token or access token.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use domain::user::{self, RevokeSession, User, UserCommand};
use event_log::BusError;
use schemas::user::RevokeReason;
use schemas::{SessionId, Timestamp, UserId};
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::unreadable;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::problem;
use crate::tokens::RefreshToken;

#[derive(Deserialize, ToSchema)]
pub struct RevokeRequest {
    /// A refresh token or an access token. With either the whole session ends.
    pub token: String,
    /// Not needed: the two are told apart by themselves.
    #[serde(rename = "token_type_hint")]
    pub _token_type_hint: Option<String>,
}

/// The holder of a token may end its session; who presents anything else learns nothing (RFC 7009,
/// section 2.2: an invalid token is answered 200).
#[utoipa::path(post, path = "/oauth/revoke", tag = "sessions",
    request_body(content = RevokeRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.oauth.revoke", skip_all)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    call: OpenCall,
    form: Result<Form<RevokeRequest>, FormRejection>,
) -> Result<Written, Problem> {
    let Form(request) = form.map_err(|rejection| refused(&rejection))?;
    let nothing = Written::at(call.token_of(&app, []));
    let Some((user, session_id)) = session_of(&app, &request.token) else {
        return Ok(nothing);
    };
    let reason = RevokeReason::Logout;
    let command = UserCommand::RevokeSession(RevokeSession { session_id, reason });
    let context = call.context(&app, "oauth-revoke", &session_id, Vec::new());
    match app.bus.execute::<User>(&user.to_string(), command, context).await {
        Ok(receipt) => Ok(Written::at(call.token(&app, &[], &receipt))),
        Err(BusError::Refused(user::Error::NoSuchSession | user::Error::NotFound)) => Ok(nothing),
        Err(error) => Err(problem(error)),
    }
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
