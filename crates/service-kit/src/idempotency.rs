//! `Idempotency-Key`: a retry of a command under the same key gets the answer of the first.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::problem::{Problem, ProblemType};

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// 1 to 255 visible ASCII characters. Extract `Option<IdempotencyKey>` where it may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(text) if visible && (1..=255).contains(&text.len()) && values.next().is_none() => {
                Ok(Some(Self(text.to_owned())))
            }
            _ => Err(Problem::new(ProblemType::InvalidIdempotencyKey)
                .detail("Idempotency-Key is sent once, with 1 to 255 visible ASCII characters")),
        }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        Self::from_headers(&parts.headers)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers)?.ok_or_else(|| {
            Problem::new(ProblemType::InvalidIdempotencyKey).detail("Idempotency-Key is missing")
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parse(values: &[&[u8]]) -> Result<Option<IdempotencyKey>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        IdempotencyKey::from_headers(&headers)
    }

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length_sent_once() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[b"a-1"]).unwrap().unwrap().as_str(), "a-1");
        assert!(parse(&[&[b'x'; 255]]).is_ok());
        for bad in [
            &[b"".as_slice()] as &[&[u8]],
            &[&[b'x'; 256]],
            &[b"a b"],
            &["\u{e9}".as_bytes()],
            &[b"a", b"a"],
        ] {
            assert_eq!(parse(bad).unwrap_err().kind, ProblemType::InvalidIdempotencyKey);
        }
    }
}
