//! Serving until told to stop, and stopping without losing a request in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::connection;
use crate::listener::{Beginning, Listener, Protocol, begin, refusing};

/// Out of file descriptors: wait for some to come free instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("listening on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{open} connections were still busy after {grace:?}; they were closed")]
    Grace { open: usize, grace: Duration },
}

/// The routes served at this moment. They may be exchanged while connections are open, as when a
/// service has started.
#[derive(Clone)]
pub struct Doors(Arc<ArcSwap<Router>>);

impl Doors {
    pub fn open(&self, router: Router) {
        self.0.store(Arc::new(router));
    }

    pub(crate) fn router(&self) -> Router {
        Router::clone(&self.0.load())
    }
}

impl From<Router> for Doors {
    fn from(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }
}

/// Serves until `shutdown`; then accepts nothing, finishes what is in flight within `grace`, and
/// closes the rest.
pub async fn serve(
    listener: impl Into<Listener>,
    doors: impl Into<Doors>,
    shutdown: CancellationToken,
    grace: Duration,
) -> Result<(), ServeError> {
    let Listener {
        socket,
        certificate,
        protocol,
    } = listener.into();
    let tls = certificate.as_ref().map(|it| it.acceptor(protocol.name()));
    let tls = tls.transpose()?;
    let following = certificate.map(|it| tokio::spawn(it.follow()));
    let open = Open {
        doors: doors.into(),
        refusing: refusing(),
        tls,
        protocol,
        stopping: shutdown.clone(),
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(open.clone().connection(stream, peer));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "Accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    if let Some(following) = following {
        following.abort();
    }
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => return Ok(()),
        () = tokio::time::sleep(grace) => {}
    }
    while connections.try_join_next().is_some() {}
    match connections.len() {
        0 => Ok(()),
        open => Err(ServeError::Grace { open, grace }),
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Open {
    doors: Doors,
    /// For plain requests where TLS is spoken.
    refusing: Doors,
    tls: Option<TlsAcceptor>,
    protocol: Protocol,
    stopping: CancellationToken,
}

impl Open {
    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are small: without this, Nagle's algorithm holds them back for 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Some(tls) = &self.tls else {
            return self.speak(stream, peer, &self.doors).await;
        };
        match begin(stream, tls, &self.stopping).await {
            Some(Beginning::Tls(stream)) => self.speak(*stream, peer, &self.doors).await,
            Some(Beginning::Plain(stream)) => self.speak(stream, peer, &self.refusing).await,
            None => {}
        }
    }

    async fn speak<S>(&self, stream: S, peer: SocketAddr, doors: &Doors)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.protocol {
            Protocol::Http1 => connection::http1(stream, peer, doors, &self.stopping).await,
            Protocol::Http2 => connection::http2(stream, peer, doors, &self.stopping).await,
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Cancelled by the first SIGTERM or SIGINT. Call it inside the runtime.
pub fn shutdown_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("Stopping on {name}");
        cancel.cancel();
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use transport::Certificate;

    use super::*;
    use crate::listener::bind;

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        served: tokio::task::JoinHandle<Result<(), ServeError>>,
    }

    async fn start(handler_takes: Duration, grace: Duration) -> Running {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        start_on(listener.into(), handler_takes, grace)
    }

    fn start_on(listener: Listener, handler_takes: Duration, grace: Duration) -> Running {
        let router = Router::new().route(
            "/",
            get(async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
                tokio::time::sleep(handler_takes).await;
                format!("hello {}", peer.ip())
            }),
        );
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, shutdown.clone(), grace));
        Running {
            address,
            shutdown,
            served,
        }
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        stream
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_signal() {
        let running = start(Duration::from_millis(200), Duration::from_secs(5)).await;
        let _idle = TcpStream::connect(running.address).await.unwrap();
        let mut stream = ask(running.address).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.shutdown.cancel();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello 127.0.0.1"),
            "{answer}"
        );
        running.served.await.unwrap().unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn an_endless_request_does_not_outlive_the_grace() {
        let running = start(Duration::from_secs(600), Duration::from_millis(50)).await;
        let _stream = ask(running.address).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.shutdown.cancel();
        let error = running.served.await.unwrap().unwrap_err();
        assert!(matches!(error, ServeError::Grace { open: 1, .. }), "{error}");
    }

    /// By TLS.
    async fn start_secure() -> Running {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let listener = Listener {
            socket: bind("127.0.0.1:0".parse().unwrap()).await.unwrap(),
            certificate: Some(Certificate::open(&certificate, &key).unwrap()),
            protocol: Protocol::Http1,
        };
        start_on(listener, Duration::ZERO, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn plain_http_is_refused_where_tls_is_spoken() {
        let running = start_secure().await;
        let mut answer = String::new();
        ask(running.address)
            .await
            .read_to_string(&mut answer)
            .await
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("tls-required"),
            "{answer}"
        );
        assert!(!answer.contains("hello"), "{answer}");
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_go_on_does_not_hold_the_end_back() {
        let running = start_secure().await;
        let silent = TcpStream::connect(running.address).await.unwrap();
        let mut halfway = TcpStream::connect(running.address).await.unwrap();
        halfway.write_all(&[22, 3, 1]).await.unwrap();
        // Whoever came before was accepted before.
        ask(running.address).await.read_to_end(&mut vec![]).await.unwrap();
        running.shutdown.cancel();
        running.served.await.unwrap().unwrap();
        drop((silent, halfway));
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let running = start(Duration::ZERO, Duration::ZERO).await;
        let error = bind(running.address).await.unwrap_err();
        assert!(error.to_string().contains(&running.address.to_string()));
    }
}
