//! Errors of the AuthZEN calls: the status says the kind, the body is a plain string.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use service_kit::problem::{Problem, ProblemType};

/// A problem as AuthZEN callers see it.
#[derive(Debug)]
pub struct Plain(Problem);

impl From<Problem> for Plain {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl Plain {
    /// 400 with this message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self(Problem::new(ProblemType::InvalidBody).detail(message.into()))
    }
}

/// AuthZEN knows one status for whatever is wrong with a request.
fn status(problem: &Problem) -> StatusCode {
    match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::BAD_REQUEST,
        other => other,
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        let status = status(&self.0);
        let title = self.0.kind.title();
        let message = match &self.0.detail {
            Some(detail) => format!("{title}: {detail}"),
            None => title.to_owned(),
        };
        let problem = self.0.into_response();
        let mut response = (status, message).into_response();
        for name in [RETRY_AFTER, WWW_AUTHENTICATE] {
            if let Some(value) = problem.headers().get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }
}
