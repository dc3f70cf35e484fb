//! Path and query parameters, refused as problems.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::json::short;
use crate::problem::{Problem, ProblemType};

/// Parameters of the path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// Parameters of the query string.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(wrong_path(error.into_kind())),
            Err(rejection) => Err(Problem::internal(&rejection)),
        }
    }
}

fn wrong_path(kind: ErrorKind) -> Problem {
    let field = match &kind {
        ErrorKind::InvalidUtf8InPathParam { key } => {
            return Problem::new(ProblemType::InvalidUtf8).field(key.clone(), "is not UTF-8");
        }
        ErrorKind::ParseErrorAtKey { key, .. } | ErrorKind::DeserializeError { key, .. } => key.clone(),
        _ => "path".to_owned(),
    };
    let detail = short(&kind.to_string());
    Problem::new(ProblemType::InvalidParameter)
        .detail(detail.clone())
        .field(field, detail)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The parser puts U+FFFD for wrong bytes, which would look up something nobody asked for.
        if !parts.uri.query().is_none_or(decodes_to_utf8) {
            return Err(Problem::new(ProblemType::InvalidUtf8).detail("the query string is not UTF-8"));
        }
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Problem::new(ProblemType::InvalidParameter).detail(short(&rejection.body_text())))
            }
        }
    }
}

fn decodes_to_utf8(query: &str) -> bool {
    if !query.contains('%') {
        return true;
    }
    let mut decoded = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match tail.split_first_chunk::<2>() {
            Some((&[high, low], after))
                if byte == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(nibble(high) << 4 | nibble(low));
                rest = after;
            }
            _ => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use schemas::UserId;
    use serde::Deserialize;

    use super::*;
    use crate::http;
    use crate::testing::get as fetch;

    #[derive(Deserialize)]
    struct Page {
        size: Option<u8>,
        after: Option<String>,
    }

    fn router() -> Router {
        http::standard(
            Router::new()
                .route("/users/{id}", get(async |Path(id): Path<UserId>| id.to_string()))
                .route(
                    "/page",
                    get(async |Query(page): Query<Page>| format!("{:?} {:?}", page.size, page.after)),
                ),
        )
    }

    #[tokio::test]
    async fn an_id_that_is_no_uuid_is_an_invalid_parameter() {
        let answer = fetch(router(), "/users/42").await;
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (400, "invalid-parameter")
        );
        assert_eq!(fetch(router(), "/users/%ff").await.slug(), "invalid-utf8");
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(fetch(router(), &format!("/users/{id}")).await.text, id);
    }

    #[tokio::test]
    async fn a_query_is_checked_too() {
        assert_eq!(
            fetch(router(), "/page?size=7&after=%C3%A9").await.text,
            "Some(7) Some(\"\u{e9}\")"
        );
        assert_eq!(
            fetch(router(), "/page?size=700").await.slug(),
            "invalid-parameter"
        );
        assert_eq!(
            fetch(router(), "/page?size=1&size=2").await.slug(),
            "invalid-parameter"
        );
        assert_eq!(fetch(router(), "/page?after=%ff").await.slug(), "invalid-utf8");
    }
}
