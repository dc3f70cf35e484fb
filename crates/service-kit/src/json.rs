//! Request bodies and parameters, with every way they can be wrong told apart.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use tower_http::timeout::TimeoutError;

use crate::problem::{Problem, ProblemType};

/// A body this long is refused, unless a route sets another `DefaultBodyLimit`.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What a message may repeat of the caller's own input.
const ECHO: usize = 200;

/// A JSON body, in and out. Nesting is bounded by serde_json (128 levels).
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(ProblemType::UnsupportedMediaType)
                .detail("send the body with Content-Type: application/json"));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unreadable(&rejection))?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be missing altogether: an empty one is `T::default()`.
#[derive(Clone, Copy, Debug)]
pub struct OptionalJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let typed = is_json(request.headers());
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unreadable(&rejection))?;
        match (bytes.is_empty(), typed) {
            (true, _) => Ok(Self(T::default())),
            (false, true) => parse(&bytes).map(Self),
            (false, false) => Err(Problem::new(ProblemType::UnsupportedMediaType)
                .detail("send the body with Content-Type: application/json")),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => (
                [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                body,
            )
                .into_response(),
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Why a body could not be read; for endpoints whose body is not JSON too.
pub fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(ProblemType::BodyTooLarge)
    } else if ran_out_of_time(rejection) {
        Problem::new(ProblemType::BodyTimeout)
    } else {
        Problem::new(ProblemType::MalformedJson).detail("the body could not be read to its end")
    }
}

/// Why a body that is read piece by piece could not be read on.
pub fn broken_off(error: &axum::Error) -> Problem {
    if ran_out_of_time(error) {
        Problem::new(ProblemType::BodyTimeout)
    } else {
        Problem::new(ProblemType::InvalidBody).detail("the body could not be read to its end")
    }
}

fn ran_out_of_time(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.any(|error| error.is::<TimeoutError>())
}

/// Parses a body as [`Json`] does; for endpoints that need the raw bytes too.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(ProblemType::InvalidUtf8).detail(format!(
            "the body stops being UTF-8 at byte {}",
            error.valid_up_to()
        ))
    })?;
    serde_json::from_str(text).map_err(|error| explain::<T>(text, &error))
}

/// Only a refused body pays for being read again.
fn explain<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> Problem {
    if error.classify() != Category::Data {
        return malformed(error);
    }
    // A field may be refused before a syntax error behind it is seen; broken is broken.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return malformed(&error);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let field = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => error.path().to_string(),
        Ok(_) => ".".to_owned(),
    };
    let detail = short(&error.to_string());
    Problem::new(ProblemType::InvalidBody)
        .detail(detail.clone())
        .field(short(&field), detail)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemType::MalformedJson)
        .detail(short(&error.to_string()))
        .extension("line", error.line())
        .extension("column", error.column())
}

pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(ECHO) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::post;
    use serde::Deserialize;

    use super::*;
    use crate::http;
    use crate::testing::{Answer, send};

    #[derive(Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        name: String,
        lines: Vec<Line>,
    }
    #[derive(Deserialize, Serialize)]
    struct Line {
        count: u8,
    }

    async fn post_body(content_type: &str, body: impl Into<Body>) -> Answer {
        let router =
            http::standard(Router::new().route("/", post(async |Json(order): Json<Order>| Json(order))));
        let request = Request::post("/")
            .header(CONTENT_TYPE, content_type)
            .body(body.into())
            .unwrap();
        send(router, request).await
    }

    async fn refused(body: impl Into<Body>) -> (u16, String, serde_json::Value) {
        let answer = post_body("application/json", body).await;
        (answer.status, answer.slug(), answer.body)
    }

    #[tokio::test]
    async fn a_good_body_passes_under_any_json_type() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            let answer = post_body(content_type, r#"{"name":"a","lines":[{"count":1}]}"#).await;
            assert_eq!(answer.status, 200, "{content_type}");
        }
    }

    #[tokio::test]
    async fn another_content_type_is_refused() {
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
        ] {
            assert_eq!(
                post_body(content_type, "{}").await.slug(),
                "unsupported-media-type"
            );
        }
    }

    #[tokio::test]
    async fn broken_json_is_told_by_line_and_column() {
        let (status, slug, body) = refused("{\n  \"name\": }").await;
        assert_eq!((status, slug.as_str()), (400, "malformed-json"));
        assert_eq!((&body["line"], &body["column"]), (&2.into(), &11.into()));
        for broken in ["", "{", "{} x", "nul", "[1,]"] {
            assert_eq!(refused(broken).await.0, 400, "{broken}");
        }
    }

    #[tokio::test]
    async fn a_wrong_type_is_told_by_its_path() {
        let (status, slug, body) = refused(r#"{"name":"a","lines":[{"count":1},{"count":"x"}]}"#).await;
        assert_eq!((status, slug.as_str()), (422, "invalid-body"));
        assert_eq!(body["errors"][0]["field"], "lines[1].count");
        for wrong in [
            r#"{"name":"a"}"#,
            r#"{"name":"a","lines":[],"x":1}"#,
            r#"{"name":"a","name":"b","lines":[]}"#,
            "[]",
            "7",
        ] {
            assert_eq!(refused(wrong).await.1, "invalid-body", "{wrong}");
        }
    }

    #[tokio::test]
    async fn bad_utf8_oversize_and_deep_nesting_are_refused() {
        assert_eq!(refused(b"{\"name\":\"\xff\"}".to_vec()).await.1, "invalid-utf8");
        let (status, slug, _) = refused(vec![b' '; BODY_LIMIT + 1]).await;
        assert_eq!((status, slug.as_str()), (413, "body-too-large"));
        assert_eq!(refused("[".repeat(10_000)).await.1, "malformed-json");
        assert!(parse::<serde_json::Value>("[".repeat(10_000).as_bytes()).is_err());
    }

    #[tokio::test]
    async fn a_long_value_is_not_echoed_in_full() {
        let (_, _, body) = refused(format!(r#"{{"name":"a","lines":"{}"}}"#, "x".repeat(5_000))).await;
        assert!(body.to_string().len() < 1_000);
    }
}
