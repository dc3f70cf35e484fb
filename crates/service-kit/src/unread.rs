//! Bodies that an answer leaves unread: their connection ends with it, and the answer has to say so.
//!
//! hyper takes what is left of a body off a connection only if it has arrived, and closes the connection otherwise. A caller
//! who is not told sends the next request on a connection that is about to end (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// What a client sends without being waited for: such a body has arrived by the time of an answer, or as good as.
const SMALL: u64 = 16 * 1024;

/// Whether a body was read to its end.
pub(crate) struct Watch(Arc<AtomicBool>);

struct Watched {
    body: Body,
    is_read: Arc<AtomicBool>,
}

/// Nothing to watch in a small body, nor where streams share a connection.
pub(crate) fn watch(body: Body, version: Version) -> (Body, Option<Watch>) {
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL);
    if is_small || version >= Version::HTTP_2 {
        return (body, None);
    }
    let is_read = Arc::new(AtomicBool::new(false));
    let watched = Watched {
        body,
        is_read: Arc::clone(&is_read),
    };
    (Body::new(watched), Some(Watch(is_read)))
}

impl Watch {
    pub(crate) fn tell(&self, response: &mut Response) {
        if !self.0.load(Ordering::Acquire) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let is_end = matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
        if is_end {
            self.is_read.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{Request, StatusCode};
    use axum::routing::post;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::standard;

    fn router() -> Router {
        let unread = post(async |_: Body| StatusCode::TOO_MANY_REQUESTS);
        let read = post(async |body: Bytes| body.len().to_string());
        standard(Router::new().route("/unread", unread).route("/read", read))
    }

    async fn is_told(path: &str, bytes: u64, version: Version) -> bool {
        let body = vec![b'x'; usize::try_from(bytes).unwrap()];
        let request = Request::post(path).version(version).body(Body::from(body));
        let response = router().oneshot(request.unwrap()).await.unwrap();
        response.headers().get(CONNECTION).is_some_and(|it| it == "close")
    }

    #[tokio::test]
    async fn an_answer_that_ends_its_connection_says_so() {
        assert!(is_told("/unread", SMALL + 1, Version::HTTP_11).await);
        assert!(!is_told("/unread", SMALL, Version::HTTP_11).await);
        assert!(!is_told("/unread", SMALL + 1, Version::HTTP_2).await);
        assert!(!is_told("/read", SMALL + 1, Version::HTTP_11).await);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_watched() {
        let body = || Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("x")]));
        for (path, expected) in [("/unread", true), ("/read", false)] {
            let request = Request::post(path).body(body()).unwrap();
            let response = router().oneshot(request).await.unwrap();
            assert_eq!(response.headers().contains_key(CONNECTION), expected, "{path}");
        }
    }
}
