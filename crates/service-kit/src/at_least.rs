//! `Rolecall-At-Least` on requests and `Rolecall-Token` on answers.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use schemas::LogId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::consistency::{ConsistencyToken, ForeignToken, TokenParseError};
use crate::json::Json;
use crate::problem::{Problem, ProblemType};

pub const ROLECALL_AT_LEAST: HeaderName = HeaderName::from_static("rolecall-at-least");
pub const ROLECALL_TOKEN: HeaderName = HeaderName::from_static("rolecall-token");

/// State of a service that knows which log it serves.
pub trait LogIdentity {
    fn log_id(&self) -> LogId;
}

impl<T: LogIdentity + ?Sized> LogIdentity for Arc<T> {
    fn log_id(&self) -> LogId {
        (**self).log_id()
    }
}

/// What the answer must reflect. The header may repeat or list several tokens by commas; the
/// word `latest` asks for everything in the log by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtLeast {
    /// The join of all tokens given.
    pub token: Option<ConsistencyToken>,
    pub latest: bool,
}

impl AtLeast {
    pub fn from_headers(headers: &HeaderMap, log_id: LogId) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for value in headers.get_all(ROLECALL_AT_LEAST) {
            let text = value.to_str().map_err(|_| TokenParseError::Base64)?;
            for part in text.split(',').map(str::trim) {
                wanted.add(part, log_id)?;
            }
        }
        Ok(wanted)
    }

    /// Demands this too: a token, or `latest`.
    pub fn add(&mut self, part: &str, log_id: LogId) -> Result<(), Problem> {
        if part.eq_ignore_ascii_case("latest") {
            self.latest = true;
            return Ok(());
        }
        let token: ConsistencyToken = part.parse()?;
        let so_far = self.token.take().unwrap_or_else(|| ConsistencyToken::new(log_id));
        self.token = Some(so_far.join(&token)?);
        Ok(())
    }
}

impl<S: LogIdentity + Send + Sync> FromRequestParts<S> for AtLeast {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers, state.log_id())
    }
}

impl From<TokenParseError> for Problem {
    fn from(error: TokenParseError) -> Self {
        Self::new(ProblemType::InvalidTokenHeader).detail(error.to_string())
    }
}

impl From<ForeignToken> for Problem {
    fn from(error: ForeignToken) -> Self {
        Self::new(ProblemType::ForeignToken).detail(error.to_string())
    }
}

/// Sets `Rolecall-Token` on any response: `(token, Json(answer))`.
impl IntoResponseParts for ConsistencyToken {
    type Error = Problem;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Problem> {
        let value = HeaderValue::try_from(self.to_string()).map_err(|error| Problem::internal(&error))?;
        response.headers_mut().insert(ROLECALL_TOKEN, value);
        Ok(response)
    }
}

/// For answers that may carry tokens, keys or codes: nobody on the way keeps them (RFC 6749, section 5.1).
pub const fn no_store() -> [(HeaderName, &'static str); 1] {
    [(CACHE_CONTROL, "no-store")]
}

/// The body of an answer that says nothing but its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Empty {}

/// The body of every answer to a write: the call's own fields and the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrittenBody<T> {
    #[serde(flatten)]
    pub answer: T,
    pub token: ConsistencyToken,
}

/// The answer to a write: the token stands in the header and in the body.
#[derive(Clone, Debug)]
pub struct Written<T = Empty> {
    status: StatusCode,
    body: WrittenBody<T>,
}

impl Written<Empty> {
    /// `{"token": ...}`.
    pub const fn at(token: ConsistencyToken) -> Self {
        Self::new(Empty {}, token)
    }
}

impl<T> Written<T> {
    pub const fn new(answer: T, token: ConsistencyToken) -> Self {
        Self {
            status: StatusCode::OK,
            body: WrittenBody { answer, token },
        }
    }

    /// What was asked for goes on behind the answer, or waits for something else.
    pub const fn accepted(answer: T, token: ConsistencyToken) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            body: WrittenBody { answer, token },
        }
    }

    pub const fn created(answer: T, token: ConsistencyToken) -> Self {
        Self {
            status: StatusCode::CREATED,
            body: WrittenBody { answer, token },
        }
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        (self.status, no_store(), self.body.token.clone(), Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use schemas::{Position, Stream};

    use super::*;
    use crate::http;
    use crate::testing::{Answer, send};

    #[derive(Clone)]
    struct State(LogId);
    impl LogIdentity for State {
        fn log_id(&self) -> LogId {
            self.0
        }
    }

    #[derive(Serialize)]
    struct Made {
        user_id: u8,
    }

    fn at(log_id: LogId, stream: Stream, offset: i64) -> ConsistencyToken {
        ConsistencyToken::from_positions(
            log_id,
            [Position {
                stream,
                partition: 0,
                offset,
            }],
        )
    }

    async fn ask(log_id: LogId, headers: &[&str]) -> Answer {
        let handler = async |wanted: AtLeast| match wanted.token {
            Some(token) => Written::created(
                Made {
                    user_id: u8::from(wanted.latest),
                },
                token,
            )
            .into_response(),
            None => "nothing asked".into_response(),
        };
        let router = http::standard(Router::new().route("/", get(handler)).with_state(State(log_id)));
        let mut request = Request::get("/");
        for header in headers {
            request = request.header(ROLECALL_AT_LEAST, *header);
        }
        send(router, request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn several_tokens_join_and_come_back_in_header_and_body() {
        let log_id = LogId::new_v7();
        let (user, role) = (at(log_id, Stream::Users, 7), at(log_id, Stream::Catalog, 3));
        let joined = user.clone().join(&role).unwrap().to_string();
        for headers in [
            vec![user.to_string(), role.to_string()],
            vec![format!("{user}, {role}")],
        ] {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = ask(log_id, &headers).await;
            assert_eq!(answer.status, 201);
            assert_eq!(answer.header("rolecall-token"), joined);
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.body, serde_json::json!({ "user_id": 0, "token": joined }));
        }
        let latest = ask(log_id, &["latest", &user.to_string()]).await;
        assert_eq!(latest.body["user_id"], 1);
    }

    #[tokio::test]
    async fn no_header_asks_for_nothing() {
        assert_eq!(ask(LogId::new_v7(), &[]).await.text, "nothing asked");
    }

    #[tokio::test]
    async fn foreign_and_broken_tokens_are_refused() {
        let foreign = at(LogId::new_v7(), Stream::Users, 1).to_string();
        let answer = ask(LogId::new_v7(), &[&foreign]).await;
        assert_eq!((answer.status, answer.slug().as_str()), (400, "foreign-token"));
        for broken in ["", "rc1.", "rc9.AAAA", "\u{e9}", "rc1.AAAA,"] {
            let answer = ask(LogId::new_v7(), &[broken]).await;
            assert_eq!(
                (answer.status, answer.slug().as_str()),
                (400, "invalid-token-header"),
                "{broken}"
            );
        }
    }

    #[test]
    fn an_empty_answer_is_the_token_alone() {
        let token = ConsistencyToken::new(LogId::new_v7());
        let body = WrittenBody {
            answer: Empty {},
            token: token.clone(),
        };
        assert_eq!(
            serde_json::to_value(body).unwrap(),
            serde_json::json!({ "token": token })
        );
    }
}
