//! Errors for callers whose protocol knows no problem documents: the status says the kind, the body is a plain string.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::problem::Problem;

/// The answer as it is, but a problem as a string: its title and, behind a colon, its detail.
pub(crate) fn plain(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let title = problem.kind.title();
    let message = match &problem.detail {
        Some(detail) => format!("{title}: {detail}"),
        None => title.to_owned(),
    };
    *response.status_mut() = status(&problem);
    *response.body_mut() = Body::from(message);
    let headers = response.headers_mut();
    // Of the document.
    headers.remove(CONTENT_LENGTH);
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    response
}

/// Such protocols know one status for whatever is wrong with what a request says.
fn status(problem: &Problem) -> StatusCode {
    match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::BAD_REQUEST,
        other => other,
    }
}
