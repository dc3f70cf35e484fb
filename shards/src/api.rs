//! Asking a command service to change the shard map: the log's one writer of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use schemas::catalog::{LedgerCopy, ShardMapChanged};
use serde_json::{Value, json};
use transport::Trust;

use crate::cli::ApiArgs;

/// A command service that is between owners says so and is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

pub struct Api {
    http: reqwest::Client,
    args: ApiArgs,
    token: Option<String>,
}

impl Api {
    pub fn new(args: ApiArgs, trust: &Trust) -> anyhow::Result<Self> {
        trust.check_url("ROLECALL_COMMAND_URL", &args.command_url)?;
        let http = trust.http()?.timeout(Duration::from_secs(30)).build()?;
        Ok(Self {
            http,
            args,
            token: None,
        })
    }

    /// Has it recorded. Its key makes trying again safe.
    pub async fn change_map(&mut self, map: &ShardMapChanged) -> anyhow::Result<()> {
        let (key, body) = (uuid::Uuid::now_v7().to_string(), body(map));
        let (began, mut wait) = (Instant::now(), FIRST_WAIT);
        loop {
            let reason = match self.try_change(&key, &body).await {
                Ok(None) => return Ok(()),
                Ok(Some(reason)) => reason,
                Err(error) if error.is::<reqwest::Error>() => format!("{error:#}"),
                Err(error) => return Err(error),
            };
            if began.elapsed() > PATIENCE {
                bail!(
                    "the command service does not record shard map {}: {reason}",
                    map.version
                );
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Why to try again, if that may help.
    async fn try_change(&mut self, key: &str, body: &Value) -> anyhow::Result<Option<String>> {
        let token = self.token().await?;
        let request = self.http.put(format!("{}/v1/shard-map", self.args.command_url));
        let request = request
            .bearer_auth(token)
            .header("idempotency-key", key)
            .json(body);
        let answer = request.send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(None);
        }
        let text = answer.text().await?;
        if status == StatusCode::UNAUTHORIZED && self.token.take().is_some() {
            return Ok(Some(text)); // it has run out meanwhile
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Ok(Some(text));
        }
        bail!("the command service answers {status}: {text}")
    }

    async fn token(&mut self) -> anyhow::Result<String> {
        if let Some(file) = &self.args.token_file {
            return read(file);
        }
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let file = self.args.password_file.as_ref();
        let password = read(file.context("a password file or a token file is needed")?)?;
        let request = self.http.post(format!("{}/v1/sessions", self.args.command_url));
        let body = json!({ "username": self.args.username, "password": password });
        let answer = request.json(&body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let token = body["access_token"].as_str().map(str::to_owned);
        let token = token.with_context(|| format!("signing in is answered {status}: {text}"))?;
        self.token = Some(token.clone());
        Ok(token)
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn body(map: &ShardMapChanged) -> Value {
    let copies = |copies: &[LedgerCopy]| -> Vec<Value> {
        let copies = copies.iter();
        copies
            .map(|it| json!({ "ledger": it.ledger, "shard": it.shard }))
            .collect()
    };
    json!({
        "version": map.version,
        "placement": map.placement,
        "shards": map.shards,
        "filling": copies(&map.filling),
        "leaving": copies(&map.leaving),
    })
}
