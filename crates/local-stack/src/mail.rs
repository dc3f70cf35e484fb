//! A mail server that delivers to nobody: it takes every message in and keeps it, for tests to read and
//! for people to look at.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mailin_embedded::{Handler, Response, Server, response};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Messages kept in memory at most; older ones go first.
const KEPT: usize = 10_000;

/// A message as it was handed over.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, as sent.
    pub text: String,
}

impl Mail {
    /// Value of a header that fits on one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.text.lines().take_while(|line| !line.is_empty());
        let mut found = headers.filter_map(|line| line.split_once(": "));
        found
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// How the server answers recipients, other than by taking the message.
type Refusals = Vec<(String, Response, usize)>;

#[derive(Default)]
struct Kept {
    mails: Mutex<VecDeque<Mail>>,
    came: Notify,
    refusals: Mutex<Refusals>,
    refused: AtomicUsize,
    folder: Option<PathBuf>,
    count: AtomicUsize,
}

/// A real SMTP server on a port of this machine. It serves until the process ends.
#[derive(Clone)]
pub struct MailServer {
    port: u16,
    kept: Arc<Kept>,
}

impl MailServer {
    /// Starts on a free port; writes each message to a file in `folder`, too.
    pub fn start(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let kept = Arc::new(Kept {
            folder,
            ..Kept::default()
        });
        let mut server = Server::new(Inbox {
            kept: Arc::clone(&kept),
            mail: None,
            data: Vec::new(),
        });
        server
            .with_name("localhost")
            .with_num_threads(64)
            .with_tcp_listener(listener);
        std::thread::Builder::new()
            .name("mail-server".to_owned())
            .spawn(move || {
                if let Err(error) = server.serve() {
                    eprintln!("the mail server: {error}");
                }
            })?;
        Ok(Self { port, kept })
    }

    /// `smtp://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// From now on the address is answered with this code, so many times.
    pub fn refuse(&self, address: &str, code: u16, times: usize) {
        let answer = Response::custom(code, "not now".to_owned());
        self.kept
            .refusals
            .lock()
            .push((address.to_owned(), answer, times));
    }

    /// How many recipients were refused so far.
    pub fn refused(&self) -> usize {
        self.kept.refused.load(Ordering::SeqCst)
    }

    /// Messages that came to this address, the oldest first.
    pub fn to(&self, address: &str) -> Vec<Mail> {
        let mails = self.kept.mails.lock();
        let is_theirs = |mail: &&Mail| mail.to.iter().any(|to| to.eq_ignore_ascii_case(address));
        mails.iter().filter(is_theirs).cloned().collect()
    }

    /// Waits until so many messages came to this address.
    ///
    /// # Panics
    /// If they do not come within half a minute.
    pub async fn wait_for(&self, address: &str, count: usize) -> Vec<Mail> {
        let all = async {
            loop {
                let came = self.kept.came.notified();
                let found = self.to(address);
                if found.len() >= count {
                    return found;
                }
                // Another waiter may have been told; look again soon.
                tokio::time::timeout(Duration::from_millis(100), came)
                    .await
                    .unwrap_or(());
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), all).await;
        waited.unwrap_or_else(|_| panic!("{} of {count} messages came to {address}", self.to(address).len()))
    }
}

#[derive(Clone)]
struct Inbox {
    kept: Arc<Kept>,
    mail: Option<Mail>,
    data: Vec<u8>,
}

impl Inbox {
    fn refusal(&self, to: &str) -> Option<Response> {
        let mut refusals = self.kept.refusals.lock();
        let refusal = refusals
            .iter_mut()
            .find(|(address, _, left)| address == to && *left > 0)?;
        refusal.2 -= 1;
        self.kept.refused.fetch_add(1, Ordering::SeqCst);
        Some(refusal.1.clone())
    }
}

impl Handler for Inbox {
    fn rcpt(&mut self, to: &str) -> Response {
        self.refusal(to.trim_matches(['<', '>'])).unwrap_or(response::OK)
    }

    fn data_start(&mut self, _: &str, from: &str, _: bool, to: &[String]) -> Response {
        let bare = |address: &str| address.trim_matches(['<', '>']).to_owned();
        self.mail = Some(Mail {
            from: bare(from),
            to: to.iter().map(|it| bare(it)).collect(),
            text: String::new(),
        });
        self.data.clear();
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        self.data.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let Some(mail) = self.mail.take() else {
            return response::INTERNAL_ERROR;
        };
        let text = String::from_utf8_lossy(&self.data).replace("\r\n", "\n");
        let number = self.kept.count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(folder) = &self.kept.folder
            && std::fs::write(folder.join(format!("{number:04}.eml")), &self.data).is_err()
        {
            return response::OUT_OF_SPACE;
        }
        let mut mails = self.kept.mails.lock();
        mails.push_back(Mail { text, ..mail });
        if mails.len() > KEPT {
            mails.pop_front();
        }
        drop(mails);
        self.kept.came.notify_waiters();
        response::OK
    }
}
