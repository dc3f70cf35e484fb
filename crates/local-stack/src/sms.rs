//! A gateway to phones that reaches none: it takes every message in and keeps it, or fails as a test wants it to.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Certificates;
use crate::certificates::Connection;

const LOOK: Duration = Duration::from_millis(20);

/// A call as it came.
#[derive(Clone, Debug)]
pub struct SmsCall {
    /// Method and path.
    pub request: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl SmsCall {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// How a call is answered, other than by taking the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmsFailure {
    Status(u16),
    /// The connection ends without an answer.
    HangUp,
}

struct Kept {
    authorization: String,
    calls: Mutex<Vec<SmsCall>>,
    /// By number, the next one last.
    failures: Mutex<HashMap<String, Vec<SmsFailure>>>,
}

impl Kept {
    fn failure(&self, call: &SmsCall) -> Option<SmsFailure> {
        if call.header("authorization") != Some(self.authorization.as_str()) {
            return Some(SmsFailure::Status(401));
        }
        let mut failures = self.failures.lock();
        let mut theirs = failures
            .iter_mut()
            .filter(|(number, _)| call.body.contains(number.as_str()));
        theirs.find_map(|(_, failures)| failures.pop())
    }
}

/// A real HTTP server on a port of this machine. It serves until its runtime ends.
#[derive(Clone)]
pub struct SmsGateway {
    address: SocketAddr,
    scheme: &'static str,
    kept: Arc<Kept>,
}

impl SmsGateway {
    /// Starts on a free port, by HTTPS if there are certificates. Whoever lacks the token is answered 401.
    pub async fn start(certificates: Option<&Certificates>, token: &str) -> io::Result<Self> {
        let tls = certificates.map(acceptor).transpose()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let gateway = Self {
            address: listener.local_addr()?,
            scheme: if tls.is_some() { "https" } else { "http" },
            kept: Arc::new(Kept {
                authorization: format!("Bearer {token}"),
                calls: Mutex::default(),
                failures: Mutex::default(),
            }),
        };
        tokio::spawn(serve(listener, tls, Arc::clone(&gateway.kept)));
        Ok(gateway)
    }

    pub fn url(&self) -> String {
        format!("{}://{}/messages", self.scheme, self.address)
    }

    /// The next calls about this number fail, one like each of these.
    pub fn fail(&self, number: &str, failures: &[SmsFailure]) {
        let failures = failures.iter().rev().copied().collect();
        self.kept.failures.lock().insert(number.to_owned(), failures);
    }

    /// Calls about this number, the oldest first.
    pub fn to(&self, number: &str) -> Vec<SmsCall> {
        let calls = self.kept.calls.lock();
        let theirs = calls.iter().filter(|call| call.body.contains(number));
        theirs.cloned().collect()
    }

    /// Waits until so many came about this number.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub async fn wait_for(&self, number: &str, count: usize) -> Vec<SmsCall> {
        let all = async {
            loop {
                let calls = self.to(number);
                if calls.len() >= count {
                    return calls;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), all).await;
        waited.unwrap_or_else(|_| panic!("{} of {count} calls came about {number}", self.to(number).len()))
    }
}

fn acceptor(certificates: &Certificates) -> io::Result<TlsAcceptor> {
    let pair = certificates.server();
    let chain = CertificateDer::pem_file_iter(&pair.certificate).map_err(io::Error::other)?;
    let chain: Result<Vec<_>, _> = chain.collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, kept: Arc<Kept>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, kept) = (tls.clone(), Arc::clone(&kept));
        tokio::spawn(async move {
            if let Err(error) = take_call(stream, tls, &kept).await {
                // As when the caller is killed.
                eprintln!("the gateway to phones: {error}");
            }
        });
    }
}

/// One call a connection.
async fn take_call(stream: TcpStream, tls: Option<TlsAcceptor>, kept: &Kept) -> io::Result<()> {
    let stream: Box<dyn Connection> = match tls {
        Some(tls) => Box::new(tls.accept(stream).await?),
        None => Box::new(stream),
    };
    let mut stream = BufReader::new(stream);
    let call = read_call(&mut stream).await?;
    let failure = kept.failure(&call);
    kept.calls.lock().push(call);
    let status = match failure {
        None => 202,
        Some(SmsFailure::Status(status)) => status,
        Some(SmsFailure::HangUp) => return Ok(()),
    };
    let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn read_call(stream: &mut BufReader<Box<dyn Connection>>) -> io::Result<SmsCall> {
    let request = read_line(stream).await?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(SmsCall {
        request: request.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

async fn read_line(stream: &mut BufReader<Box<dyn Connection>>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}
