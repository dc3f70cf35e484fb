//! Sending chunks to the command service, until each is settled.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, ClientBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::chunks::Chunk;

/// A chunk is sent again for so long while the service has no time for it or does not answer.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(300);

/// Who imports.
pub enum Importer {
    Person {
        username: String,
        password: String,
    },
    /// A service account, by this key.
    Service(String),
}

/// What became of a chunk.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub imported: u64,
    /// Index in the chunk, and the problem.
    pub rejected: Vec<(usize, Value)>,
}

#[derive(Deserialize)]
struct Answer {
    imported: u64,
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    line: u64,
    problem: Value,
}

pub struct Sender {
    client: Client,
    url: String,
    importer: Importer,
    /// Of every key: the file, and the size of its chunks.
    key: String,
    /// What proves who imports.
    token: RwLock<String>,
}

/// How one try ended.
enum Try {
    Settled(Outcome),
    /// To be tried again after a while.
    Later(String),
    SignInAgain,
}

impl Sender {
    pub fn new(http: ClientBuilder, url: &str, importer: Importer, digest: &str, size: u32) -> Result<Self> {
        let digest = digest.get(..32).unwrap_or(digest);
        Ok(Self {
            client: http.timeout(TIMEOUT).build()?,
            url: url.trim_end_matches('/').to_owned(),
            importer,
            key: format!("import-{digest}-{size}"),
            token: RwLock::default(),
        })
    }

    /// Access tokens live minutes, imports hours. A key is good as it is.
    pub async fn sign_in(&self) -> Result<()> {
        let token = match &self.importer {
            Importer::Person { username, password } => self.access_token(username, password).await?,
            Importer::Service(key) => key.clone(),
        };
        *self.token.write().await = token;
        Ok(())
    }

    async fn access_token(&self, username: &str, password: &str) -> Result<String> {
        let body = json!({ "username": username, "password": password });
        let url = format!("{}/v1/sessions", self.url);
        let response = self.client.post(&url).json(&body).send().await;
        let response = response.with_context(|| format!("reaching {url}"))?;
        if response.status() != StatusCode::CREATED {
            bail!("signing in as {username}: {}", reason(response).await);
        }
        let answer: Value = response.json().await?;
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.context("the answer to signing in has no token")?.to_owned())
    }

    /// Sends a chunk until each of its rows is imported or rejected for good.
    pub async fn send(&self, chunk: &Chunk) -> Result<Outcome> {
        if chunk.rows.is_empty() {
            return Ok(Outcome::default());
        }
        let mut wait = WAIT;
        for _ in 0..TRIES {
            match self.attempt(chunk).await? {
                Try::Settled(outcome) => return Ok(outcome),
                Try::SignInAgain => self.sign_in().await?,
                Try::Later(_) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        }
        match self.attempt(chunk).await? {
            Try::Settled(outcome) => Ok(outcome),
            Try::Later(reason) => bail!("chunk {} cannot be sent: {reason}", chunk.number),
            Try::SignInAgain => bail!("the service does not accept its own token"),
        }
    }

    async fn attempt(&self, chunk: &Chunk) -> Result<Try> {
        let lines: Vec<&str> = chunk.rows.iter().map(|row| row.json.as_str()).collect();
        let request = self.client.post(format!("{}/v1/imports", self.url));
        let request = request
            .bearer_auth(self.token.read().await.as_str())
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", format!("{}-{}", self.key, chunk.number));
        let response = match request.body(lines.join("\n")).send().await {
            Ok(response) => response,
            Err(error) => return Ok(Try::Later(error.to_string())),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => match self.importer {
                Importer::Person { .. } => return Ok(Try::SignInAgain),
                Importer::Service(_) => bail!("the service key is refused: {}", reason(response).await),
            },
            status if is_temporary(u64::from(status.as_u16())) => {
                return Ok(Try::Later(reason(response).await));
            }
            _ => bail!("chunk {} is refused: {}", chunk.number, reason(response).await),
        }
        match response.json::<Answer>().await {
            Ok(answer) => settle(answer),
            Err(error) => Ok(Try::Later(error.to_string())),
        }
    }
}

/// A chunk of which some rows failed only for now is sent again whole: what is imported stays imported.
fn settle(answer: Answer) -> Result<Try> {
    if let Some(for_now) = answer.rejected.iter().find(|rejected| rejected.is_temporary()) {
        return Ok(Try::Later(for_now.problem.to_string()));
    }
    let rejected = answer.rejected.into_iter().map(|rejected| {
        let index = usize::try_from(rejected.line)?.checked_sub(1);
        Ok((index.context("lines are counted from 1")?, rejected.problem))
    });
    Ok(Try::Settled(Outcome {
        imported: answer.imported,
        rejected: rejected.collect::<Result<_>>()?,
    }))
}

impl Rejected {
    fn is_temporary(&self) -> bool {
        let status = self.problem.get("status").and_then(Value::as_u64);
        is_temporary(status.unwrap_or(0))
    }
}

fn is_temporary(status: u64) -> bool {
    status == 429 || status == 408 || status >= 500
}

async fn reason(response: Response) -> String {
    let status = response.status();
    match response.json::<Value>().await {
        Ok(problem) => format!(
            "{status}: {} {}",
            problem.get("title").and_then(Value::as_str).unwrap_or_default(),
            problem.get("detail").and_then(Value::as_str).unwrap_or_default(),
        ),
        Err(_) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(statuses: &[(u64, u64)]) -> Answer {
        let rejected = |(line, status): &(u64, u64)| Rejected {
            line: *line,
            problem: json!({ "status": status }),
        };
        Answer {
            imported: 1,
            rejected: statuses.iter().map(rejected).collect(),
        }
    }

    #[test]
    fn a_chunk_is_settled_once_nothing_failed_only_for_now() {
        assert!(matches!(
            settle(answer(&[(1, 409), (3, 503)])).unwrap(),
            Try::Later(_)
        ));
        let Try::Settled(outcome) = settle(answer(&[(1, 409), (3, 422)])).unwrap() else {
            panic!("not settled");
        };
        assert_eq!(
            outcome.rejected,
            [(0, json!({ "status": 409 })), (2, json!({ "status": 422 }))]
        );
    }
}
