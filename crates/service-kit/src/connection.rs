//! One connection: HTTP/1.1 or HTTP/2 on it, and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::serve::Doors;

/// Between a request's end and the last byte of the next one's headers: a client's pool may keep a connection that
/// long, and one that dribbles its headers no longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of one connection of HTTP/2 at once.
const STREAMS: u32 = 64;
/// A client that is gone without a word is found out by this, though it has a request that takes for ever.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(20);
/// What a client that was answered early still sends is read no longer than this; a service that stops waits for it.
const LINGER: Duration = Duration::from_secs(4);

/// What of a body nobody read hyper takes off the connection only if it has arrived, and ends the connection otherwise. So
/// much has, or as good as.
const SMALL: u64 = 16 * 1024;

/// HTTP/1.1, until one of both ends it or `stopping` ends it after the request in flight.
pub(crate) async fn http1<S>(mut stream: S, peer: SocketAddr, doors: &Doors, stopping: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let unread = Arc::new(AtomicBool::new(false));
    {
        let service = service_fn(|request: Request<Incoming>| {
            let router = doors.router();
            let unread = Arc::clone(&unread);
            async move {
                let is_large = request
                    .body()
                    .size_hint()
                    .upper()
                    .is_none_or(|bytes| bytes > SMALL);
                let mut request = request.map(|body| Sent::body(body, Arc::clone(&unread)));
                request.extensions_mut().insert(ConnectInfo(peer));
                let mut response = router.oneshot(request).await.map_err(|never: Infallible| never)?;
                if is_large && unread.load(Ordering::Relaxed) {
                    // Else its next request goes to a connection that is about to end (RFC 9112, section 9.6).
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut served = pin!(
            conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(&mut stream), service)
        );
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = stopping.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "A connection broke off");
        }
    }
    close(stream, unread.load(Ordering::Relaxed)).await;
}

/// HTTP/2, until one of both ends it or `stopping` ends it after the requests in flight. A connection that brings no
/// request at all is ended too.
pub(crate) async fn http2<S>(stream: S, peer: SocketAddr, doors: &Doors, stopping: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let used = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        used.store(true, Ordering::Relaxed);
        let router = doors.router();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.oneshot(request).await.map_err(|never: Infallible| never)
        }
    });
    let mut served = pin!(
        conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(stream), service)
    );
    let unused = async {
        tokio::time::sleep(HEADER_TIMEOUT).await;
        if used.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    };
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = async { tokio::select! { () = stopping.cancelled() => {}, () = unused => {} } } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection broke off");
    }
}

/// A client that still sends its request when the socket closes is sent a reset, and a reset takes the answer
/// with it that was on its way. So only what is sent to it ends, and the rest of its request is read first
/// (RFC 9112, section 9.6).
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, unread: bool) {
    let closing = async {
        // The end of TLS too (RFC 8446, section 6.1): without it, a client takes what it has for cut off.
        stream.shutdown().await?;
        if unread {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        }
        std::io::Result::Ok(())
    };
    // Whoever is gone need not be told that the connection ends.
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, closing).await {
        tracing::trace!(%error, "The client ended the connection");
    }
}

/// Body of a request, that tells when it was not read to its end.
struct Sent {
    body: Incoming,
    ended: bool,
    unread: Arc<AtomicBool>,
}

impl Sent {
    fn body(body: Incoming, unread: Arc<AtomicBool>) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self {
            body,
            ended: false,
            unread,
        })
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::listener::bind;
    use crate::serve::serve;

    const LENGTH: usize = 8 << 20;

    /// As most clients do, it sends the whole of its request before it reads.
    #[tokio::test]
    async fn an_early_answer_reaches_a_client_that_still_sends() {
        let router = Router::new().route("/", post(async || "enough"));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, shutdown.clone(), Duration::from_secs(5)));
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..64 {
                stream.write_all(&[b'x'; LENGTH / 64]).await.unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("enough"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
        shutdown.cancel();
        served.await.unwrap().unwrap();
    }
}
