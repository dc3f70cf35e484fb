//! POST /oauth/revoke: RFC 7009 token revocation, by refresh token.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use domain::user::{self, RevokeSession, User, UserCommand};
use event_log::BusError;
use schemas::user::RevokeReason;
use serde::Deserialize;
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::problem;
use crate::tokens::RefreshToken;

#[derive(Deserialize, ToSchema)]
pub struct RevokeRequest {
    /// A refresh token. Access tokens end with their session.
    pub token: String,
    #[serde(rename = "token_type_hint")]
    pub _token_type_hint: Option<String>,
}

/// The holder of a refresh token may end its session; who presents anything else learns nothing
/// (RFC 7009, section 2.2: an invalid token is answered 200).
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
    let Some(presented) = RefreshToken::parse(&request.token).filter(|token| app.issued(token)) else {
        return Ok(nothing);
    };
    let user = presented.user_id.to_string();
    let reason = RevokeReason::Logout;
    let command = UserCommand::RevokeSession(RevokeSession {
        session_id: presented.session_id,
        reason,
    });
    let context = call.context(&app, "oauth-revoke", &presented.session_id, Vec::new());
    match app.bus.execute::<User>(&user, command, context).await {
        Ok(receipt) => Ok(Written::at(call.token(&app, &[], &receipt))),
        Err(BusError::Refused(user::Error::NoSuchSession | user::Error::NotFound)) => Ok(nothing),
        Err(error) => Err(problem(error)),
    }
}

/// OAuth clients look for `error`; the rest is as everywhere.
fn refused(rejection: &FormRejection) -> Problem {
    let (kind, detail) = match rejection {
        FormRejection::InvalidFormContentType(_) => (
            ProblemType::UnsupportedMediaType,
            "send the body with Content-Type: application/x-www-form-urlencoded",
        ),
        FormRejection::BytesRejection(error) if error.status() == 413 => {
            (ProblemType::BodyTooLarge, "a token is shorter")
        }
        _ => (ProblemType::InvalidParameter, "send one form field token"),
    };
    Problem::new(kind)
        .detail(detail)
        .extension("error", "invalid_request")
}
