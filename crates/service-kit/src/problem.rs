//! Errors as callers see them: RFC 9457 problem details with a stable type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use crate::problem_type::ProblemType;
use crate::request_id;

pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// What a 401 asks for, without and with a token sent.
const NO_TOKEN: &str = r#"Bearer realm="rolecall""#;
const BAD_TOKEN: &str = r#"Bearer realm="rolecall", error="invalid_token""#;
/// RFC 9470, section 3; the time within which a second factor must have been shown.
const STEP_UP: &str = r#"Bearer realm="rolecall", error="insufficient_user_authentication", error_description="a recent second factor is needed", acr_values="aal2", max_age="600""#;

/// One answer that says no, and why. `?` turns it into the response.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub kind: ProblemType,
    pub detail: Option<Cow<'static, str>>,
    pub retry_after: Option<Duration>,
    /// An access token was sent, and is what is refused.
    pub invalid_token: bool,
    pub errors: Vec<FieldError>,
    pub extensions: BTreeMap<&'static str, Value>,
}

/// What is wrong with one field of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field's path in the body, or the parameter's name.
    pub field: String,
    pub detail: String,
}

/// The body of a problem response (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// Stable; the URL of the page that explains it.
    #[serde(rename = "type")]
    #[schema(example = "https://rolecall.dev/errors/no-such-user")]
    pub kind: String,
    #[schema(example = "No such user")]
    pub title: String,
    #[schema(example = 404)]
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request id, as `urn:uuid:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Seconds, as in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Further members that some types define; their pages name them.
    #[serde(flatten)]
    #[schema(ignore)]
    pub extensions: BTreeMap<String, Value>,
}

impl Problem {
    pub const fn new(kind: ProblemType) -> Self {
        Self {
            kind,
            detail: None,
            retry_after: None,
            invalid_token: matches!(kind, ProblemType::TokenExpired | ProblemType::SessionEnded),
            errors: Vec::new(),
            extensions: BTreeMap::new(),
        }
    }

    /// Logs the error with its sources; the caller learns only that something broke.
    pub fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error = %chain(error), "A request failed inside the service");
        Self::new(ProblemType::Internal)
    }

    /// Something this request needs does not answer; the caller may try again.
    pub fn unavailable(error: &(dyn StdError + 'static)) -> Self {
        tracing::warn!(error = %chain(error), "A request failed for want of a dependency");
        Self::new(ProblemType::DependencyUnavailable)
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// RFC 6750, section 3.1: the challenge tells a bad token from none at all.
    #[must_use]
    pub fn invalid_token(mut self) -> Self {
        self.invalid_token = true;
        self
    }

    #[must_use]
    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            field: field.into(),
            detail: detail.into(),
        });
        self
    }

    #[must_use]
    pub fn extension(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name, value.into());
        self
    }

    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The body; `instance` is the request being answered on this task.
    pub fn details(&self) -> ProblemDetails {
        ProblemDetails {
            kind: self.kind.uri(),
            title: self.kind.title().to_owned(),
            status: self.status().as_u16(),
            detail: self.detail.as_deref().map(str::to_owned),
            instance: request_id::current().map(|id| format!("urn:uuid:{id}")),
            retry_after: self.wait_seconds(),
            errors: self.errors.clone(),
            extensions: self
                .extensions
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        }
    }

    /// Whole seconds, rounded up. Every 429 and 503 names a time, so that clients need no guess.
    fn wait_seconds(&self) -> Option<u64> {
        let temporary = matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let wait = self.retry_after.or(temporary.then_some(Duration::from_secs(1)))?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

impl From<ProblemType> for Problem {
    fn from(kind: ProblemType) -> Self {
        Self::new(kind)
    }
}

impl IntoResponse for ProblemType {
    fn into_response(self) -> Response {
        Problem::new(self).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let details = self.details();
        // Strings, numbers and JSON values only: this cannot fail, and a failure still has its status.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
        if let Some(seconds) = details.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = match (self.kind, self.invalid_token) {
                (ProblemType::StepUpRequired, _) => STEP_UP,
                (_, true) => BAD_TOKEN,
                (_, false) => NO_TOKEN,
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // For callers who get it in another form.
        response.extensions_mut().insert(self);
        response
    }
}

/// An error and its sources in one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::body_json;

    #[tokio::test]
    async fn a_problem_carries_type_status_and_extensions() {
        let response = Problem::new(ProblemType::UserLocked)
            .detail("sign-in is refused until unlock")
            .retry_after(Duration::from_millis(1500))
            .extension("locked_until", "2026-01-01T00:00:00Z")
            .into_response();
        assert_eq!(response.status(), StatusCode::LOCKED);
        assert_eq!(response.headers()[CONTENT_TYPE], CONTENT_TYPE_PROBLEM);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(
            body_json(response).await,
            serde_json::json!({
                "type": "https://rolecall.dev/errors/user-locked",
                "title": "The user is locked",
                "status": 423,
                "detail": "sign-in is refused until unlock",
                "retry_after": 2,
                "locked_until": "2026-01-01T00:00:00Z",
            })
        );
    }

    #[test]
    fn a_step_up_is_asked_for_as_rfc_9470_says() {
        let response = ProblemType::StepUpRequired.into_response();
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="insufficient_user_authentication""#));
        assert!(challenge.contains(r#"max_age="600""#));
    }

    #[tokio::test]
    async fn an_internal_problem_tells_the_caller_nothing() {
        let secret = std::io::Error::other("password=hunter2 at db.example.org");
        let body = body_json(Problem::internal(&secret).into_response()).await;
        assert_eq!(body.get("detail"), None);
        assert!(!body.to_string().contains("hunter2"));
    }

    #[test]
    fn every_401_names_how_to_authenticate_and_every_503_when_to_retry() {
        for kind in ProblemType::all() {
            let response = kind.into_response();
            let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(
                response.headers().contains_key(WWW_AUTHENTICATE),
                unauthorized,
                "{kind:?}"
            );
            let temporary = matches!(response.status().as_u16(), 429 | 503);
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                temporary,
                "{kind:?}"
            );
        }
    }
}
