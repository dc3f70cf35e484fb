//! Which request this is: `X-Request-ID` and W3C `traceparent`.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use schemas::RequestId;
use uuid::Uuid;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The request that this task answers, if it runs under [`crate::http::standard`].
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(|id| *id).ok()
}

/// Answers a request: [`current`] is this id within.
pub async fn scope<F: Future>(id: RequestId, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// The caller's id when it is a UUID, else a new one: anything else could smuggle personal data
/// into the log, where the id is kept for ever.
pub fn from_headers(headers: &HeaderMap) -> RequestId {
    headers
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| Uuid::try_parse(text).ok())
        .map_or_else(RequestId::new_v7, RequestId::from_uuid)
}

pub(crate) fn header_value(id: RequestId) -> HeaderValue {
    // A UUID's text is always a valid header value.
    HeaderValue::from_str(&id.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// A well-formed `traceparent` of version 00.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceParent(String);

impl TraceParent {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = parts.next()?;
        let trace = parts.next()?;
        let parent = parts.next()?;
        let flags = parts.next()?;
        let well_formed = version == "00"
            && parts.next().is_none()
            && is_lower_hex(trace, 32)
            && is_lower_hex(parent, 16)
            && is_lower_hex(flags, 2)
            && trace.bytes().any(|b| b != b'0')
            && parent.bytes().any(|b| b != b'0');
        well_formed.then(|| Self(text.to_owned()))
    }

    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Extractor: what the events of this request name as their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    pub request_id: RequestId,
    pub traceparent: Option<TraceParent>,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            request_id: parts
                .extensions
                .get::<RequestId>()
                .copied()
                .unwrap_or_else(|| from_headers(&parts.headers)),
            traceparent: parts.extensions.get::<TraceParent>().cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_a_well_formed_traceparent_is_taken_over() {
        assert_eq!(TraceParent::parse(GOOD).unwrap().as_str(), GOOD);
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in [
            "",
            "00",
            zero,
            &GOOD.to_uppercase(),
            &format!("{GOOD}-x"),
            &GOOD.replace("00-", "01-"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_request_id_that_is_no_uuid_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("alice@example.org"));
        assert_ne!(from_headers(&headers), from_headers(&headers));
        headers.insert(
            X_REQUEST_ID,
            HeaderValue::from_static("01890a5d-ac96-774b-bcce-b302099a8057"),
        );
        assert_eq!(
            from_headers(&headers).to_string(),
            "01890a5d-ac96-774b-bcce-b302099a8057"
        );
    }
}
