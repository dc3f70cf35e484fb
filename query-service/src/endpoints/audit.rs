//! GET /v1/audit: what happened, to whomever, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use read_model::digest::CATALOG_LEDGER;
use read_model::queries::{AuditFilter, AuditOf, AuditRow, audit as page};
use schemas::Timestamp;
use serde::Deserialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json::Json;
use service_kit::params::Query;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::IntoParams;

use crate::app::App;
use crate::endpoints::audit_page::{AuditAnswer, Cursor};
use crate::endpoints::limit::Limit;
use crate::reads::Source;

/// No type of event has a longer name.
const LONGEST_TYPE: usize = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// Only what stands behind this: `next` of the page before, asked for with the same other parameters.
    #[param(value_type = Option<String>)]
    before: Option<Cursor>,
    /// Only events of this type. A rare one is looked for among all that happened: give `since` too.
    #[serde(rename = "type")]
    #[param(example = "user.login_failed", max_length = 100)]
    kind: Option<String>,
    /// Only what is suspicious by its risk score.
    #[serde(default)]
    suspicious: bool,
    /// Nothing older, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

impl AuditQuery {
    fn filter(&self, source: Source) -> AuditFilter {
        AuditFilter {
            event_type: self.kind.clone(),
            suspicious: self.suspicious,
            since: self.since,
            before: self.before.map(|cursor| cursor.within(ledger(source))),
        }
    }
}

const fn ledger(source: Source) -> i32 {
    match source {
        Source::Ledger(ledger) => ledger,
        Source::Catalog | Source::CatalogOn(_) => CATALOG_LEDGER as i32,
    }
}

/// What happened, to whomever
///
/// Newest first, in pages, of all shards; one that does not answer fails the request. Needs the permission
/// `rolecall.audit_read`.
#[utoipa::path(
    get,
    path = "/v1/audit",
    tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of events", body = AuditAnswer),
        (status = 400, description = "A parameter is not valid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet, or a shard does not answer", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn audit(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::AuditRead)?;
    if query.kind.as_ref().is_some_and(|kind| !is_type(kind)) {
        let detail = format!("type is the name of a type of event, of at most {LONGEST_TYPE} characters");
        return Err(Problem::new(ProblemType::InvalidParameter).detail(detail));
    }
    let limit = query.limit.0;
    let (pages, token) = app
        .read_all(&at_least, |source, shard| {
            let filter = query.filter(source);
            Box::pin(async move { page(shard, AuditOf::Ledger(ledger(source)), &filter, limit).await })
        })
        .await?;
    Ok((token, Json(newest(pages, limit))).into_response())
}

fn is_type(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
    name.len() <= LONGEST_TYPE && name.bytes().all(known)
}

/// The page of all, from one of each.
fn newest(pages: Vec<Vec<AuditRow>>, limit: u32) -> AuditAnswer {
    let mut rows: Vec<_> = pages.into_iter().flatten().collect();
    rows.sort_by_cached_key(|row| std::cmp::Reverse(Cursor::of(row)));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = Cursor::behind(&rows, limit);
    AuditAnswer {
        events: rows.into_iter().map(Into::into).collect(),
        next,
    }
}
