//! POST /access/v1/evaluation: may this subject do this?

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemas::Timestamp;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::problem::Problem;

use crate::app::App;
use crate::authzen::{Answer, Evaluation, Incoming, Question, bad_request, parse};

/// Whether a user may do something
///
/// Allowed if a live grant of an active user gives a permission with this resource type and
/// action, and is limited to no other resources. Needs the permission `rolecall.access_check`, except to ask about oneself.
#[utoipa::path(
    post,
    path = "/access/v1/evaluation",
    tag = "access",
    request_body = Evaluation<'static>,
    responses(
        (status = 200, description = "The decision", body = Answer),
        (status = 400, description = "The request is not valid; a plain string", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid access token", body = String, content_type = "text/plain"),
        (status = 403, description = "The caller may not ask about others", body = String, content_type = "text/plain"),
        (status = 408, description = "The body did not arrive in time", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 429, description = "Too many wrong keys came for the service account", body = String, content_type = "text/plain"),
        (status = 503, description = "What Rolecall-At-Least demands is not applied yet, or the user's ledger lags", body = String, content_type = "text/plain"),
    ),
)]
pub async fn evaluation(
    State(app): State<Arc<App>>,
    Incoming {
        caller,
        at_least,
        body,
    }: Incoming,
) -> Result<Response, Problem> {
    answer_one(&app, caller, &at_least, parse(&body)?).await
}

/// As a batch without items is answered too.
pub async fn answer_one(
    app: &App,
    caller: Caller,
    at_least: &AtLeast,
    asked: Evaluation<'_>,
) -> Result<Response, Problem> {
    let question = Question::of(asked).map_err(bad_request)?;
    app.reach(caller, at_least).await?;
    app.may_ask(caller, [&question])?;
    let token = app.token_of_answers([&question]);
    let answer = app.decide(caller, &question, Timestamp::now())?;
    Ok((token, Json(answer)).into_response())
}
