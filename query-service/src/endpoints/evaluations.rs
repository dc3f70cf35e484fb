//! POST /access/v1/evaluations: several questions at once.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemas::Timestamp;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::problem::Problem;

use crate::app::App;
use crate::authzen::{
    Answer, Answers, Batch, BatchAnswer, Incoming, MAX_EVALUATIONS, Question, Semantic, bad_request, parse,
};
use crate::endpoints::evaluation::answer_one;

/// Whether users may do several things
///
/// What an item leaves out is taken from the top level. An item that is broken, or cannot be decided
/// now, is denied and says why in its context. Without items this is a single evaluation. At most 1,000 items.
#[utoipa::path(
    post,
    path = "/access/v1/evaluations",
    tag = "access",
    request_body = Batch<'static>,
    responses(
        (status = 200, description = "The decisions in the order of the questions; a single decision where no items were sent", body = BatchAnswer),
        (status = 400, description = "The request is not valid; a plain string", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid access token", body = String, content_type = "text/plain"),
        (status = 403, description = "The caller may not ask about others", body = String, content_type = "text/plain"),
        (status = 408, description = "The body did not arrive in time", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 429, description = "Too many wrong keys came for the service account", body = String, content_type = "text/plain"),
        (status = 503, description = "What Rolecall-At-Least demands is not applied yet, or the user's ledger lags", body = String, content_type = "text/plain"),
    ),
)]
pub async fn evaluations(
    State(app): State<Arc<App>>,
    Incoming {
        caller,
        at_least,
        body,
    }: Incoming,
) -> Result<Response, Problem> {
    let mut batch: Batch<'_> = parse(&body)?;
    let items = batch.evaluations.take().unwrap_or_default();
    if items.len() > MAX_EVALUATIONS {
        let message = format!("a batch has at most {MAX_EVALUATIONS} evaluations");
        return Err(bad_request(message));
    }
    let (semantic, defaults) = (batch.semantic(), batch.into_defaults());
    if items.is_empty() {
        return answer_one(&app, caller, &at_least, defaults).await;
    }
    let questions: Vec<Result<Question<'_>, String>> = items
        .iter()
        .map(|item| Question::of_item(item.get(), &defaults))
        .collect();

    app.reach(caller, &at_least).await?;
    app.may_ask(caller, questions.iter().flatten())?;
    let token = app.token_of_answers(questions.iter().flatten());
    let evaluations = decide(&app, caller, questions, semantic);
    Ok((token, Json(Answers { evaluations })).into_response())
}

fn decide(
    app: &App,
    caller: Caller,
    questions: Vec<Result<Question<'_>, String>>,
    semantic: Semantic,
) -> Vec<Answer> {
    let now = Timestamp::now();
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        let answer = match question {
            Ok(question) => {
                let decided = app.decide(caller, &question, now);
                decided.unwrap_or_else(|problem| Answer::failed(&problem))
            }
            Err(message) => Answer::broken(message),
        };
        let stop = semantic.stops_after(answer.decision);
        answers.push(answer);
        if stop {
            break;
        }
    }
    answers
}
