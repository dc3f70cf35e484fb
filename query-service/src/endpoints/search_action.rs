//! POST /access/v1/search/action: what may this subject do with this?

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemas::Timestamp;
use service_kit::json::Json;
use service_kit::problem::Problem;

use crate::app::App;
use crate::authzen::{ActionSearch, Found, FoundAction, Incoming, Page, Question, Search, parse};

/// What a user may do with a resource
///
/// By name, in pages. Needs the permission `rolecall.access_check`, except to ask about oneself.
#[utoipa::path(
    post,
    path = "/access/v1/search/action",
    tag = "access",
    request_body = ActionSearch<'static>,
    responses(
        (status = 200, description = "A page of actions", body = Found<FoundAction>),
        (status = 400, description = "The request is not valid, or the page is of another; a plain string", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid access token", body = String, content_type = "text/plain"),
        (status = 403, description = "The caller may not ask about others", body = String, content_type = "text/plain"),
        (status = 408, description = "The body did not arrive in time", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 429, description = "Too many wrong keys came for the service account", body = String, content_type = "text/plain"),
        (status = 503, description = "What Rolecall-At-Least demands is not applied yet, or the user's ledger lags", body = String, content_type = "text/plain"),
    ),
)]
pub async fn search_action(
    State(app): State<Arc<App>>,
    Incoming {
        caller,
        at_least,
        body,
    }: Incoming,
) -> Result<Response, Problem> {
    let Search { asked, page } = parse::<ActionSearch<'_>>(&body)?.into();
    let page = Page::of(page, "action", &asked)?;
    let about = Question::from(asked.clone());
    app.reach(caller, &at_least).await?;
    app.may_ask(caller, [&about])?;
    let token = app.token_of_answers([&about]);
    let (catalog, now) = (app.node.catalog(), Timestamp::now());
    let of_type = catalog
        .permissions()
        .filter(|permission| permission.resource == asked.resource.kind);
    let mut total = 0;
    let mut found = Vec::new();
    for name in of_type
        .map(|permission| &permission.action)
        .collect::<BTreeSet<_>>()
    {
        let question = Question::from(asked.doing(name.clone()));
        if app.answer(caller, &question, now)?.decision {
            total += 1;
            if page.after().is_none_or(|after| name.as_str() > after) {
                found.push(name.clone());
            }
        }
    }
    let (names, mut page) = page.fill(found, None);
    page.total = Some(total);
    let results = names.into_iter().map(|name| FoundAction { name }).collect();
    let found = Found {
        page,
        context: None,
        results,
    };
    Ok((token, Json(found)).into_response())
}
