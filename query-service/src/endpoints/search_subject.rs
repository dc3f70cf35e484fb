//! POST /access/v1/search/subject: who may do this?

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use schemas::UserId;
use service_kit::json::Json;
use service_kit::problem::Problem;

use crate::app::App;
use crate::authzen::{Found, FoundEntity, Incoming, Page, Search, SubjectSearch, bad_request, parse};

/// Who may do something
///
/// By id, in pages, of all shards; one that does not answer fails the request. A page may have fewer results than wanted
/// though others follow: only an empty `next_token` is the end. Needs the permission `rolecall.access_check`.
#[utoipa::path(
    post,
    path = "/access/v1/search/subject",
    tag = "access",
    request_body = SubjectSearch<'static>,
    responses(
        (status = 200, description = "A page of users", body = Found<FoundEntity>),
        (status = 400, description = "The request is not valid, or the page is of another; a plain string", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid access token", body = String, content_type = "text/plain"),
        (status = 403, description = "A permission is missing", body = String, content_type = "text/plain"),
        (status = 408, description = "The body did not arrive in time", body = String, content_type = "text/plain"),
        (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
        (status = 429, description = "Too many wrong keys came for the service account", body = String, content_type = "text/plain"),
        (status = 503, description = "Not applied yet, a ledger lags, or a shard does not answer", body = String, content_type = "text/plain"),
    ),
)]
pub async fn search_subject(
    State(app): State<Arc<App>>,
    Incoming {
        caller,
        at_least,
        body,
    }: Incoming,
) -> Result<Response, Problem> {
    let Search { asked, page } = parse::<SubjectSearch<'_>>(&body)?.into();
    let page = Page::of(page, "subject", &asked)?;
    let after = page.after().map(str::parse::<UserId>).transpose();
    let after = after.map_err(|_| bad_request("page.token is not of a page"))?;
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::AccessCheck)?;
    let token = app.token_of_all();
    let found = app
        .subjects(caller, &at_least, &asked, after, page.limit())
        .await?;
    let ids = found.ids.iter().map(UserId::to_string).collect();
    let (ids, page) = page.fill(ids, found.looked_until.map(|id| id.to_string()));
    let kind = asked.subject.kind;
    let results = ids.into_iter().map(|id| FoundEntity {
        kind: kind.to_string(),
        id,
    });
    let found = Found {
        page,
        context: None,
        results: results.collect(),
    };
    Ok((token, Json(found)).into_response())
}
