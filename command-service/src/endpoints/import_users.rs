//! POST /v1/imports: import users, one JSON object a line.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use domain::rolecall_permissions::Permission;
use serde::Serialize;
use service_kit::at_least::{Written, WrittenBody};
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::imports::lines;
use crate::imports::row::Row;

const NDJSON: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

#[derive(Serialize, ToSchema)]
pub struct Imported {
    /// Lines whose users are there now, those that an earlier try under the same key imported included.
    pub imported: u64,
    /// Lines of which nothing was imported, in their order.
    pub rejected: Vec<Rejected>,
}

#[derive(Serialize, ToSchema)]
pub struct Rejected {
    /// The first line of the body is 1.
    pub line: u64,
    pub problem: ProblemDetails,
}

#[derive(Serialize)]
struct Fingerprint {}

/// One JSON object a line, at most 20,000 lines of 8 KiB.
/// A line is imported whole or not at all; repeated with the same key and lines, none is imported twice.
#[utoipa::path(post, path = "/v1/imports", tag = "users", security(("bearer" = [])),
    request_body(content = Row, content_type = "application/x-ndjson",
        description = "One such object a line"), responses(
    (status = 200, body = WrittenBody<Imported>, description = "Also where lines were rejected"),
    (status = 403, body = ProblemDetails),
    (status = 413, body = ProblemDetails, description = "Too many lines: nothing was imported"),
    (status = 415, body = ProblemDetails),
    (status = 429, body = ProblemDetails, description = "Other imports run, or what they imported is not saved yet"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.user.import", skip_all)]
pub async fn import_users(
    State(app): State<Arc<App>>,
    call: Call,
    headers: HeaderMap,
    body: Body,
) -> Result<Written<Imported>, Problem> {
    let basis = app.authorise(&call, Permission::UserImport).await?;
    if !is_ndjson(&headers) {
        return Err(Problem::new(ProblemType::UnsupportedMediaType)
            .detail("send one JSON object a line, with Content-Type: application/x-ndjson"));
    }
    // Each holds its lines in memory.
    let place = Arc::clone(&app.imports).try_acquire_owned();
    let _place = place.map_err(|_| Problem::new(ProblemType::Busy).detail("other imports run"))?;
    app.await_saved().await?;
    let lines = lines::read(body).await?;
    let context = call.context(&app, "import", &Fingerprint {}, basis.clone());
    let outcome = app.import(lines, context).await?;
    metrics::counter!("users_imported_total").increment(outcome.imported);
    let rejected = outcome.rejected.into_iter().map(|(line, problem)| Rejected {
        line,
        problem: ProblemDetails {
            instance: None,
            ..problem.details()
        },
    });
    let answer = Imported {
        imported: outcome.imported,
        rejected: rejected.collect(),
    };
    let token = call.open.token_of(&app, basis.into_iter().chain(outcome.written));
    Ok(Written::new(answer, token))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    NDJSON
        .iter()
        .any(|known| essence.trim().eq_ignore_ascii_case(known))
}
