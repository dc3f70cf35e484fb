//! POST /access/v1/search/resource: with which resources may this subject do this?

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemas::Timestamp;
use service_kit::json::Json;
use service_kit::problem::Problem;

use crate::app::App;
use crate::authzen::{
    Found, FoundContext, FoundEntity, FoundResources, Incoming, Page, Question, ResourceSearch, Search, parse,
};

/// With which resources a user may do something
///
/// Rolecall does not know the ids of what others own, only those that grants are limited to: these are the `results`.
/// `context.all` says that the user may do it with every resource of the type, and `context.prefixes` with all whose ids
/// begin so. Needs the permission `rolecall.access_check`, except to ask
/// about oneself.
#[utoipa::path(
    post,
    path = "/access/v1/search/resource",
    tag = "access",
    request_body = ResourceSearch<'static>,
    responses(
        (status = 200, description = "A page of resources", body = Found<FoundEntity>),
        (status = 400, description = "The request is not valid, or the page is of another; a plain string", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid access token", body = String, content_type = "text/plain"),
        (status = 403, description = "The caller may not ask about others", body = String, content_type = "text/plain"),
        (status = 408, description = "The body did not arrive in time", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 429, description = "Too many wrong keys came for the service account", body = String, content_type = "text/plain"),
        (status = 503, description = "What Rolecall-At-Least demands is not applied yet, or the user's ledger lags", body = String, content_type = "text/plain"),
    ),
)]
pub async fn search_resource(
    State(app): State<Arc<App>>,
    Incoming {
        caller,
        at_least,
        body,
    }: Incoming,
) -> Result<Response, Problem> {
    let Search { asked, page } = parse::<ResourceSearch<'_>>(&body)?.into();
    let page = Page::of(page, "resource", &asked)?;
    let kind = asked.resource.kind.to_string();
    let question = Question::from(asked);
    app.reach(caller, &at_least).await?;
    app.may_ask(caller, [&question])?;
    let token = app.token_of_answers([&question]);
    let FoundResources {
        all,
        mut ids,
        prefixes,
    } = app.resources(caller, &question, Timestamp::now())?;
    ids.retain(|id| page.after().is_none_or(|after| id.as_str() > after));
    let (ids, page) = page.fill(ids, None);
    let results = ids.into_iter().map(|id| FoundEntity {
        kind: kind.clone(),
        id,
    });
    let found = Found {
        page,
        context: (all || !prefixes.is_empty()).then_some(FoundContext { all, prefixes }),
        results: results.collect(),
    };
    Ok((token, Json(found)).into_response())
}
