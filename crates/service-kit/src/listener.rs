//! Where a service takes connections, and the handshake that each begins with.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::routing::any;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use transport::{Certificate, CertificateFiles, Trust};

use crate::http::standard;
use crate::problem::{Problem, ProblemType};
use crate::serve::{Doors, ServeError};

/// A client that completes no handshake holds a connection no longer than this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// First byte of a record of TLS that begins a handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
const HANDSHAKE: u8 = 22;

/// A bound socket, and what is served on it by TLS. Made from a socket alone, it speaks plain HTTP.
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) protocol: Protocol,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http1,
    /// From the first byte: a client must know that it is spoken here, or learn it by ALPN.
    Http2,
}

impl Protocol {
    /// For ALPN (RFC 7301).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self {
            socket,
            certificate: None,
            protocol: Protocol::default(),
        }
    }
}

impl Listener {
    /// The same, with another protocol.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })
}

/// Binds a service's address, by what its settings say of TLS.
///
/// # Errors
/// Where they cannot be, or mean plain HTTP and that is not allowed.
pub async fn listen(
    address: SocketAddr,
    certificate: &CertificateFiles,
    trust: &Trust,
) -> Result<Listener, ServeError> {
    trust.check()?;
    let certificate = certificate.open(trust)?;
    if certificate.is_none() {
        tracing::warn!(
            "Plain HTTP is served at {address}: whoever is on the network reads passwords and tokens"
        );
    }
    Ok(Listener {
        socket: bind(address).await?,
        certificate,
        protocol: Protocol::default(),
    })
}

/// How a connection begins.
pub(crate) enum Beginning {
    Tls(Box<TlsStream<TcpStream>>),
    /// The client sends no TLS, where nothing else is taken.
    Plain(TcpStream),
}

/// Waits for the client's part, bounded, and no longer than the service takes requests.
pub(crate) async fn begin(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    stopping: &CancellationToken,
) -> Option<Beginning> {
    let beginning = handshake(stream, acceptor);
    let failure: io::Error = tokio::select! {
        () = stopping.cancelled() => return None,
        begun = tokio::time::timeout(HANDSHAKE_TIMEOUT, beginning) => match begun {
            Ok(Ok(beginning)) => return Some(beginning),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        },
    };
    metrics::counter!("tls_handshakes_failed_total").increment(1);
    tracing::debug!(error = %failure, "A handshake failed");
    None
}

async fn handshake(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<Beginning> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0] == HANDSHAKE => Ok(Beginning::Tls(Box::new(acceptor.accept(stream).await?))),
        _ => Ok(Beginning::Plain(stream)),
    }
}

/// What is served to whoever speaks plain HTTP where HTTPS is meant.
pub(crate) fn refusing() -> Doors {
    let refuse = async || {
        let problem = Problem::new(ProblemType::TlsRequired);
        // Nothing further is to be sent in the open.
        ([(CONNECTION, "close")], problem)
    };
    let router = Router::new()
        .route("/", any(refuse))
        .route("/{*path}", any(refuse));
    Doors::from(standard(router))
}
