//! HTTP calls to both services. Every refusal that comes back is checked against the contract.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::Certificates;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use service_kit::problem::{CONTENT_TYPE_PROBLEM, ProblemType};
use transport::{Plaintext, Trust};

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Asked in turn, so that whoever tries again tries another.
    commands: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
    query: String,
}

/// A request being put together.
#[must_use]
pub struct Call {
    request: reqwest::RequestBuilder,
    /// AuthZEN has its own form of errors.
    authzen: bool,
    name: String,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the body is not JSON.
    pub body: Value,
    name: String,
}

impl Client {
    /// Of services with these certificates, or that speak plain HTTP.
    pub fn new(certificates: Option<&Certificates>, command: String, query: String) -> Self {
        Self::within(Duration::from_secs(30), certificates, command, query)
    }

    /// Gives a call up after so long.
    pub fn within(
        limit: Duration,
        certificates: Option<&Certificates>,
        command: String,
        query: String,
    ) -> Self {
        let http = http(certificates).timeout(limit).build().unwrap();
        Self {
            http,
            commands: Arc::new(Mutex::new(vec![command])),
            turn: Arc::default(),
            query,
        }
    }

    /// The same client for these command services.
    pub fn commanding(&self, urls: &[&str]) -> Self {
        Self {
            commands: Arc::new(Mutex::new(owned(urls))),
            turn: Arc::default(),
            ..self.clone()
        }
    }

    /// From now on these are up, as a balancer of the load knows by `/readyz`. For clones too.
    pub fn are_up(&self, urls: &[&str]) {
        *self.commands.lock().unwrap() = owned(urls);
    }

    /// The same client for this query service.
    pub fn querying(&self, url: &str) -> Self {
        Self {
            query: url.to_owned(),
            ..self.clone()
        }
    }

    pub fn command(&self, method: &str, path: &str) -> Call {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let commands = self.commands.lock().unwrap();
        self.call(&commands[turn % commands.len()], method, path)
    }

    pub fn query(&self, method: &str, path: &str) -> Call {
        self.call(&self.query, method, path)
    }

    fn call(&self, base: &str, method: &str, path: &str) -> Call {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method.clone(), format!("{base}{path}"));
        Call {
            request,
            authzen: path.starts_with("/access/"),
            name: format!("{method} {path}"),
        }
    }
}

/// Trusts the servers of a stack with these certificates.
pub fn http(certificates: Option<&Certificates>) -> reqwest::ClientBuilder {
    let trust = match certificates {
        Some(certificates) => Trust {
            ca_file: Some(certificates.authority()),
            ..Trust::public()
        },
        None => Trust {
            plaintext: Plaintext::Allowed,
            ..Trust::public()
        },
    };
    trust.http().unwrap()
}

fn owned(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|&url| url.to_owned()).collect()
}

impl Call {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn at_least(self, token: &str) -> Self {
        self.header("rolecall-at-least", token)
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.bytes("application/x-www-form-urlencoded", pairs.join("&"))
    }

    pub fn bytes(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.header(CONTENT_TYPE, media_type).body(body.into());
        self
    }

    /// `Err` when no answer came.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let response = self.request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8(response.bytes().await?.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        let answer = Answer {
            status,
            headers,
            text,
            body,
            name: self.name,
        };
        if status >= 400 {
            if self.authzen {
                answer.check_plain()
            } else {
                answer.check_problem()
            }
        }
        Ok(answer)
    }

    pub async fn send(self) -> Answer {
        let name = self.name.clone();
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }
}

impl Answer {
    /// A good answer, of this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.name, self.text);
        self
    }

    /// A refusal of this type.
    #[track_caller]
    pub fn refused(self, kind: ProblemType) -> Self {
        let expected = (kind.status().as_u16(), kind.slug().to_owned());
        assert_eq!(
            (self.status, self.slug()),
            expected,
            "{}: {}",
            self.name,
            self.text
        );
        self
    }

    /// Last part of the problem's type, or nothing.
    pub fn slug(&self) -> String {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The consistency token of a write.
    #[track_caller]
    pub fn token(&self) -> String {
        let token = self.body["token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token in {}", self.text));
        assert_eq!(token, self.header("rolecall-token"));
        token.to_owned()
    }

    #[track_caller]
    fn check_problem(&self) {
        let (name, text) = (&self.name, &self.text);
        assert_eq!(
            self.header("content-type"),
            CONTENT_TYPE_PROBLEM,
            "{name}: {} {text}",
            self.status
        );
        let kind =
            ProblemType::from_slug(&self.slug()).unwrap_or_else(|| panic!("{name}: unknown type in {text}"));
        assert_eq!(self.status, kind.status().as_u16(), "{name}: {text}");
        assert_eq!(self.body["type"], json!(kind.uri()));
        assert_eq!(self.body["title"], json!(kind.title()));
        assert_eq!(self.body["status"], json!(self.status));
        assert_eq!(
            self.body["instance"],
            json!(format!("urn:uuid:{}", self.header("x-request-id"))),
            "{name}"
        );
        self.check_headers();
    }

    #[track_caller]
    fn check_plain(&self) {
        let (name, text) = (&self.name, &self.text);
        assert!(
            self.header("content-type").starts_with("text/plain"),
            "{name}: {text}"
        );
        self.check_headers();
    }

    #[track_caller]
    fn check_headers(&self) {
        let name = &self.name;
        if self.status == 401 {
            assert!(
                self.header("www-authenticate").starts_with("Bearer"),
                "{name}: no WWW-Authenticate"
            );
        }
        if [423, 429, 503].contains(&self.status) {
            let seconds: u64 = self
                .header("retry-after")
                .parse()
                .unwrap_or_else(|_| panic!("{name}: no Retry-After"));
            assert!(seconds <= 900, "{name}: Retry-After {seconds}");
        }
    }
}
