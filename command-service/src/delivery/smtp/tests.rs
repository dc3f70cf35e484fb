//! Against a mail server of a few lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::Certificate as Authority;
use local_stack::Certificates;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use transport::Certificate;

use super::*;

const WITHIN: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(500);
const PLAIN: &str = "plain";
const SEALED: &str = "tls";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    OffersStarttls,
    /// Takes mails all the same.
    OffersNone,
    /// TLS from the first byte.
    Wrapped,
    /// Lets nobody in.
    Closed,
    Silent,
    /// Falls silent when a mail is to come.
    Stalls,
    /// Has nobody's mailbox.
    Empty,
}

#[derive(Default)]
struct Seen {
    /// What was said, each line after how it came.
    lines: Mutex<Vec<String>>,
    began: AtomicUsize,
    ended: AtomicUsize,
}

struct Server {
    port: u16,
    certificates: Certificates,
    seen: Arc<Seen>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::open(folder.path(), [] as [&str; 0]).unwrap();
        let pair = certificates.server();
        let certificate = Certificate::open(&pair.certificate, &pair.key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let noting = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (certificate, seen) = (Arc::clone(&certificate), Arc::clone(&noting));
                seen.began.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // Clients break off: that is what some tests are about.
                    serve(stream, manner, &certificate, &seen).await.unwrap_or(());
                    seen.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            port,
            certificates,
            seen,
            _folder: folder,
        }
    }

    /// As it is configured.
    fn client(&self, scheme: &str, query: &str) -> Smtp {
        Smtp::new(&format!("{scheme}://user:secret@127.0.0.1:{}{query}", self.port)).unwrap()
    }

    /// By STARTTLS and trusting the server's authority, as no system does.
    fn trusting_client(&self) -> Smtp {
        let pem = std::fs::read(self.certificates.authority()).unwrap();
        let parameters = TlsParameters::builder("127.0.0.1".to_owned())
            .add_root_certificate(Authority::from_pem(&pem).unwrap());
        Smtp {
            tls: Tls::Starttls(parameters.build().unwrap()),
            ..self.client("smtp", "?tls=required")
        }
    }

    /// All that was said, once every connection has ended.
    async fn heard(&self) -> Vec<String> {
        let over = async {
            while self.seen.ended.load(Ordering::SeqCst) < self.seen.began.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(WITHIN, over).await.unwrap();
        self.seen.lines.lock().clone()
    }
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    certificate: &Arc<Certificate>,
    seen: &Seen,
) -> io::Result<()> {
    let acceptor = certificate.acceptor("http/1.1").unwrap();
    if manner == Manner::Wrapped {
        let mut stream = BufReader::new(acceptor.accept(stream).await?);
        stream.write_all(b"220 here\r\n").await?;
        return talk(&mut stream, SEALED, manner, seen).await.map(drop);
    }
    let mut stream = BufReader::new(stream);
    match manner {
        Manner::Silent => {}
        Manner::Closed => stream.write_all(b"554 not for you\r\n").await?,
        _ => stream.write_all(b"220 here\r\n").await?,
    }
    if talk(&mut stream, PLAIN, manner, seen).await? {
        let mut stream = BufReader::new(acceptor.accept(stream.into_inner()).await?);
        talk(&mut stream, SEALED, manner, seen).await?;
    }
    Ok(())
}

/// Until the other side ends it, or, by `true`, asks for TLS.
async fn talk<S>(stream: &mut BufReader<S>, way: &str, manner: Manner, seen: &Seen) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut is_mail = false;
    loop {
        let mut read = String::new();
        if stream.read_line(&mut read).await? == 0 {
            return Ok(false);
        }
        let line = read.trim_end();
        seen.lines.lock().push(format!("{way}: {line}"));
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." => {
                is_mail = false;
                "250 taken"
            }
            _ if is_mail => continue,
            "EHLO" if manner == Manner::OffersStarttls && way == PLAIN => {
                "250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN"
            }
            "EHLO" => "250-here\r\n250 AUTH PLAIN",
            "STARTTLS" => "220 go ahead",
            "AUTH" => "235 welcome",
            "MAIL" if manner == Manner::Stalls => continue,
            "RCPT" if manner == Manner::Empty => "550 nobody of that name",
            "DATA" => {
                is_mail = true;
                "354 go on"
            }
            _ => "250 fine",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        stream.flush().await?;
        if line == "STARTTLS" {
            return Ok(true);
        }
    }
}

fn mail(to: &str) -> Message {
    Message::builder()
        .from("no-reply@example.org".parse().unwrap())
        .to(Mailbox::new(None, to.parse::<Address>().unwrap()))
        .subject("a token")
        .body("the-token".to_owned())
        .unwrap()
}

fn not_now(why: &str) -> Result<(), SendError> {
    Err(SendError::NotNow(why.to_owned()))
}

fn refused(why: &str) -> Result<(), SendError> {
    Err(SendError::Refused(why.to_owned()))
}

#[tokio::test]
async fn by_starttls_password_and_mail_are_sealed_and_the_connection_is_used_again() {
    let server = Server::start(Manner::OffersStarttls).await;
    let smtp = server.trusting_client();
    for _ in 0..2 {
        assert_eq!(smtp.send(&mail("alice@example.org")).await, Ok(()));
    }
    drop(smtp);
    let heard = server.heard().await;
    assert!(heard[0].starts_with("plain: EHLO"), "{heard:?}");
    assert_eq!(heard[1], "plain: STARTTLS");
    assert!(
        heard[2..].iter().all(|line| line.starts_with(SEALED)),
        "{heard:?}"
    );
    let count = |what: &str| heard.iter().filter(|line| line.starts_with(what)).count();
    let counts = [
        count("tls: AUTH PLAIN"),
        count("tls: NOOP"),
        count("tls: the-token"),
    ];
    assert_eq!(counts, [1, 1, 2], "{heard:?}");
}

#[tokio::test]
async fn without_starttls_or_of_an_unknown_authority_a_server_gets_no_password_and_no_mail() {
    let no_starttls = "the mail server offers no STARTTLS, or no way to sign in";
    let no_tls = "TLS with the mail server failed";
    for (manner, scheme, query, why) in [
        (Manner::OffersNone, "smtp", "?tls=required", no_starttls),
        (Manner::OffersStarttls, "smtp", "?tls=required", no_tls),
        (Manner::Wrapped, "smtps", "", no_tls),
    ] {
        let server = Server::start(manner).await;
        let outcome = server
            .client(scheme, query)
            .send(&mail("alice@example.org"))
            .await;
        assert_eq!(outcome, not_now(why));
        let heard = server.heard().await;
        let is_asking = |line: &String| line.starts_with("plain: EHLO") || line == "plain: STARTTLS";
        assert!(heard.iter().all(is_asking), "{heard:?}");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_and_its_connection_closed() {
    for manner in [Manner::Silent, Manner::Stalls] {
        let server = Server::start(manner).await;
        let smtp = Smtp {
            ready: SHORT,
            taken: SHORT,
            ..server.client("smtp", "")
        };
        for _ in 0..2 {
            let outcome = smtp.send(&mail("alice@example.org")).await;
            assert_eq!(outcome, not_now("the mail server does not answer in time"));
        }
        server.heard().await;
        assert_eq!(server.seen.began.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn only_what_is_said_to_a_mail_refuses_it_for_good() {
    for (manner, to, expected) in [
        (
            Manner::Closed,
            "alice@example.org",
            not_now("the mail server answers 554"),
        ),
        (
            Manner::Empty,
            "alice@example.org",
            refused("the mail server answers 550"),
        ),
        (
            Manner::OffersNone,
            "gr\u{fc}n@example.org",
            refused("the mail server takes addresses in ASCII only"),
        ),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(server.client("smtp", "").send(&mail(to)).await, expected);
    }
    // Nobody listens on port 1.
    let nobody = Smtp::new("smtp://127.0.0.1:1").unwrap();
    let outcome = nobody.send(&mail("alice@example.org")).await;
    assert_eq!(outcome, not_now("the mail server is not reached"));
}

#[test]
fn tokens_travel_encrypted_or_not_beyond_this_machine() {
    for good in [
        "smtps://user:secret@mail.example.org",
        "smtp://mail.example.org:587?tls=required",
        "smtp://127.0.0.1:2525",
        "smtp://[::1]:2525",
        "smtp://localhost:25",
    ] {
        assert!(Smtp::new(good).is_ok(), "{good}");
    }
    for bad in [
        "smtp://mail.example.org",
        "smtp://mail.example.org:587?tls=opportunistic",
        "smtp://mail.example.org:587?tls=opportunistic&tls=required",
        "smtp://10.0.0.1:25",
    ] {
        assert!(matches!(Smtp::new(bad), Err(ChannelError::NoTls)), "{bad}");
    }
    for none in ["mail.example.org", "https://mail.example.org", "smtp:///"] {
        assert!(matches!(Smtp::new(none), Err(ChannelError::SmtpUrl(_))), "{none}");
    }
}

#[test]
fn names_and_passwords_in_urls_may_hold_any_character() {
    assert_eq!(decoded("a%40b%2Fc%C3%BC").unwrap(), "a@b/c\u{fc}");
    assert_eq!(decoded("50%, 100%").unwrap(), "50%, 100%");
    assert!(decoded("%ff").is_err());
}
