//! Calls as a frontend makes them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

const AT_LEAST: &str = "Rolecall-At-Least";

pub struct Client {
    http: reqwest::Client,
    command_url: String,
    query_url: String,
    pub bearer: Option<String>,
    /// The token of the last write, so that the next read sees it.
    pub token: Option<String>,
}

/// An answer and how long it took.
pub struct Reply {
    pub call: String,
    pub status: StatusCode,
    pub body: Value,
    pub took: Duration,
}

impl Client {
    pub fn new(command_url: String, query_url: String) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            http,
            command_url,
            query_url,
            bearer: None,
            token: None,
        })
    }

    /// A command; its token is kept.
    pub async fn command(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<Reply> {
        let url = format!("{}{path}", self.command_url);
        let reply = self.send(method, &url, path, |request| match &body {
            Some(body) => request.json(body),
            None => request,
        });
        let reply = reply.await?;
        if let Some(token) = reply.body["token"].as_str() {
            self.token = Some(token.to_owned());
        }
        Ok(reply)
    }

    /// A read that reflects everything in the log by now: a refused command gives no token.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        let url = format!("{}{path}", self.query_url);
        let latest = |request: RequestBuilder| request.header(AT_LEAST, "latest");
        self.send(Method::GET, &url, path, latest)
            .await?
            .expect(StatusCode::OK)
    }

    /// May the user do that? Asked with the token of the last command.
    pub async fn check(&self, user: &str, action: &str, resource: &str) -> Result<(bool, Reply)> {
        let path = "/access/v1/evaluation";
        let body = serde_json::json!({
            "subject": { "type": "user", "id": user },
            "action": { "name": action },
            "resource": { "type": resource, "id": "1" },
        });
        let url = format!("{}{path}", self.query_url);
        let reply = self
            .send(Method::POST, &url, path, |request| request.json(&body))
            .await?;
        let reply = reply.expect(StatusCode::OK)?;
        let decision = reply.body["decision"]
            .as_bool()
            .context("an evaluation without a decision")?;
        Ok((decision, reply))
    }

    pub async fn introspect(&self, access_token: &str) -> Result<Reply> {
        let path = "/oauth/introspect";
        let url = format!("{}{path}", self.query_url);
        // A token is made of letters that need no escape.
        let form = format!("token={access_token}");
        let finish = |request: RequestBuilder| {
            request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
        };
        self.send(Method::POST, &url, path, finish)
            .await?
            .expect(StatusCode::OK)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        path: &str,
        finish: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply> {
        let call = format!("{method} {path}");
        let mut request = self.http.request(method, url);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(token) = &self.token {
            request = request.header(AT_LEAST, token);
        }
        let began = Instant::now();
        let response = finish(request)
            .send()
            .await
            .with_context(|| format!("{call} at {url}"))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .with_context(|| format!("the answer to {call}"))?;
        let took = began.elapsed();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply {
            call,
            status,
            body,
            took,
        })
    }
}

impl Reply {
    /// Anything else ends the story.
    pub fn expect(self, status: StatusCode) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        bail!(
            "{} was answered {} instead of {status}: {}",
            self.call,
            self.status,
            self.body
        )
    }

    pub fn text(&self, field: &str) -> Result<&str> {
        self.body[field]
            .as_str()
            .with_context(|| format!("no {field} in the answer to {}", self.call))
    }
}
