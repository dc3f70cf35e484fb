//! Handing mails to a mail server: by TLS unless it is this machine, and not for ever.
//!
//! lettre's own transport waits without end for a server that falls silent, and a wait that is cut short leaves its
//! connection, in the middle of a mail, among those to be used again. Here what is cut short is closed.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::channels::{ChannelError, SendError, is_this_machine};

/// To one address of the server.
const CONNECT: Duration = Duration::from_secs(10);
/// Until it is ready to take a mail: connected, in TLS and signed in.
const READY: Duration = Duration::from_secs(60);
/// Until it has taken a mail. Long: one that is given up here and taken there after all is sent twice.
const TAKEN: Duration = Duration::from_secs(300);
/// A connection that was used so lately is used again, if it answers at once.
const IDLE: Duration = Duration::from_secs(30);
const ALIVE: Duration = Duration::from_secs(5);
/// Connections that are open at once, and that are kept: a server takes few of one client.
const OPEN: usize = 16;
const KEPT: usize = 8;

enum Tls {
    None,
    /// Asked for in plain text before anything else is said.
    Starttls(TlsParameters),
    /// From the first byte.
    Wrapped(TlsParameters),
}

// No Debug: holds a password.
pub(super) struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    hello: ClientId,
    credentials: Option<Credentials>,
    idle: Mutex<Vec<(Instant, AsyncSmtpConnection)>>,
    open: Semaphore,
    ready: Duration,
    taken: Duration,
}

impl Smtp {
    /// Tokens must not travel in the clear: without TLS only to this machine.
    pub(super) fn new(url: &str) -> Result<Self, ChannelError> {
        let wrong = |what: &str| ChannelError::SmtpUrl(what.to_owned());
        let url = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it names no host"))?;
        // As an address of IPv6 is written in URLs only.
        let host = host.trim_matches(['[', ']']).to_owned();
        let asked = url.query_pairs().find(|(name, _)| name == "tls");
        let asked = asked.map(|(_, value)| value.into_owned());
        let parameters = || TlsParameters::new(host.clone()).map_err(|error| wrong(&error.to_string()));
        let (tls, port) = match (url.scheme(), asked.as_deref()) {
            ("smtps", _) => (Tls::Wrapped(parameters()?), SUBMISSIONS_PORT),
            ("smtp", Some("required")) => (Tls::Starttls(parameters()?), SUBMISSION_PORT),
            ("smtp", None) if is_this_machine(&url) => (Tls::None, SMTP_PORT),
            ("smtp", _) => return Err(ChannelError::NoTls),
            _ => return Err(wrong("neither smtp:// nor smtps://")),
        };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decoded(url.username())?, decoded(password)?)),
            None => None,
        };
        Ok(Self {
            port: url.port().unwrap_or(port),
            host,
            tls,
            hello,
            credentials,
            idle: Mutex::default(),
            open: Semaphore::new(OPEN),
            ready: READY,
            taken: TAKEN,
        })
    }

    pub(super) async fn send(&self, mail: &Message) -> Result<(), SendError> {
        // The times below begin with one's turn. It is never closed.
        let _turn = self.open.acquire().await;
        let late = |_: Elapsed| SendError::NotNow("the mail server does not answer in time".to_owned());
        let ready = timeout(self.ready, self.connection()).await.map_err(late)?;
        // What it says before there is a mail is about this service, not about an address.
        let mut connection = ready.map_err(|error| SendError::NotNow(why(&error)))?;
        let text = mail.formatted();
        let taking = connection.send(mail.envelope(), &text);
        let taken = timeout(self.taken, taking).await.map_err(late)?;
        taken.map_err(|error| judge(&error))?;
        self.keep(connection);
        Ok(())
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        while let Some(mut used) = self.used_before() {
            let alive = timeout(ALIVE, used.test_connected()).await;
            if alive.is_ok_and(|is_alive| is_alive) {
                return Ok(used);
            }
        }
        self.connect().await
    }

    fn used_before(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock();
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push((Instant::now(), connection));
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapped = match &self.tls {
            Tls::Wrapped(parameters) => Some(parameters.clone()),
            Tls::Starttls(_) | Tls::None => None,
        };
        let server = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT), &self.hello, wrapped, None);
        let mut connection = connecting.await?;
        if let Tls::Starttls(parameters) = &self.tls {
            // Fails where it is not offered.
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// What a server that was ready to take mails says to this one.
fn judge(error: &Error) -> SendError {
    let code = error.status().map_or(0, u16::from);
    // 530 to 538 tell of how this service signs in there: nobody's address is at fault.
    if (500..600).contains(&code) && !(530..=538).contains(&code) {
        SendError::Refused(why(error))
    } else if error.is_client() {
        // It lacks what such an address needs (RFC 6531), and will tomorrow.
        SendError::Refused("the mail server takes addresses in ASCII only".to_owned())
    } else {
        SendError::NotNow(why(error))
    }
}

/// In words that hold no address, as the server's own may.
fn why(error: &Error) -> String {
    if let Some(code) = error.status().map(u16::from) {
        return format!("the mail server answers {code}");
    }
    let why = if error.is_client() {
        "the mail server offers no STARTTLS, or no way to sign in"
    } else if is_of_tls(error) {
        "TLS with the mail server failed"
    } else if error.is_timeout() {
        "the mail server does not answer in time"
    } else {
        "the mail server is not reached"
    };
    why.to_owned()
}

/// lettre calls it a matter of the connection; the handshake's own error lies below.
fn is_of_tls(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return cause.kind() == io::ErrorKind::InvalidData;
        }
        source = cause.source();
    }
    false
}

/// Undoes the percent-encoding of a part of a URL. A percent sign that begins none is one.
fn decoded(part: &str) -> Result<String, ChannelError> {
    let mut pieces = part.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let split = piece.split_at_checked(2);
        match split.and_then(|(digits, rest)| Some((hex::decode(digits).ok()?, rest))) {
            Some((byte, rest)) => {
                bytes.extend(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(piece.as_bytes());
            }
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| ChannelError::SmtpUrl("user name and password must be UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;
