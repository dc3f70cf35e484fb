//! The stack, the people and the three services that the benches measure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use local_rolecall::{ADMIN_USERNAME, LocalRolecall};
use local_stack::Stack;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection as _, Executor};

use crate::client::{Connection, request};
use crate::seed::{People, fresh_grant, role_name};

/// Access tokens outlive every bench, and nobody is held back.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("ROLECALL_TOKEN_TTL", "86400"),
    ("ROLECALL_ATTEMPTS_PER_ACCOUNT", "1000000"),
    ("ROLECALL_ATTEMPTS_PER_NETWORK", "100000000"),
    ("ROLECALL_REFRESHES_PER_SESSION", "100000000"),
];

/// The whole log is read at the first start: a million people are some millions of events.
const READING: Duration = Duration::from_secs(900);

/// Services over a log with people.
pub struct World {
    pub services: LocalRolecall,
    pub people: People,
    pub command: SocketAddr,
    pub query: SocketAddr,
    /// `Bearer` and the administrator's token.
    pub authorization: String,
    /// Process of the broker.
    pub broker: u32,
    grants: AtomicUsize,
}

impl World {
    pub async fn start(stack: &Stack, prefix: &str, people: People) -> Result<Self> {
        let builder = LocalRolecall::builder().topic_prefix(prefix);
        let mut builder = builder.start_within(READING);
        for (name, value) in ENVIRONMENT {
            builder = builder.env(name, value);
        }
        let services = builder.start(stack).await?;
        let (command, query) = (address(&services.command_url())?, address(&services.query_url())?);
        let authorization = sign_in(command, services.admin_password()).await?;
        let world = Self {
            services,
            people,
            command,
            query,
            authorization,
            broker: stack.kafka().pid().context("the broker is gone")?,
            grants: AtomicUsize::new(0),
        };
        settled(&stack.shard_dsns()).await?;
        Ok(world)
    }

    /// A command as the administrator sends it.
    pub fn command(&self, method: &str, path: &str) -> Vec<u8> {
        request(method, path, &[("authorization", &self.authorization)], "")
    }

    /// A grant that nobody has made before: each is a new event.
    pub fn next_grant(&self) -> Vec<u8> {
        let number = self.grants.fetch_add(1, Ordering::Relaxed);
        let (user, role) = fresh_grant(number, self.people.users.len());
        self.command("PUT", &grant_path(&self.people, user, role))
    }
}

pub fn grant_path(people: &People, user: usize, role: usize) -> String {
    format!("/v1/users/{}/roles/{}", people.users[user], role_name(role))
}

pub fn address(url: &str) -> Result<SocketAddr> {
    url.trim_start_matches("http://")
        .parse()
        .with_context(|| format!("the address {url}"))
}

/// The administrator's `Authorization` header.
pub async fn sign_in(command: SocketAddr, password: &str) -> Result<String> {
    let body = serde_json::json!({ "username": ADMIN_USERNAME, "password": password }).to_string();
    let mut connection = Connection::open(command).await?;
    let answer = connection
        .send(&request("POST", "/v1/sessions", &[], &body))
        .await?
        .expect(201)?;
    Ok(format!("Bearer {}", answer.text("access_token")?))
}

/// Where the service programs lie: beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("the folder of the programs")?.join(name))
}

/// Waits until the projector has nothing left to do.
async fn settled(dsns: &[String]) -> Result<()> {
    let mut before = -1;
    loop {
        let mut sum = 0;
        for dsn in dsns {
            let mut shard = dsn.parse::<PgConnectOptions>()?.connect().await?;
            let applied: i64 =
                sqlx::query_scalar("SELECT coalesce(sum(next_offset), 0)::bigint FROM projection_checkpoint")
                    .fetch_one(&mut shard)
                    .await?;
            sum += applied;
            shard.close().await?;
        }
        if sum == before {
            return Ok(());
        }
        before = sum;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Empty databases beside the stack's shards, made anew if they exist.
pub async fn databases(stack: &Stack, name: &str, count: usize) -> Result<Vec<String>> {
    let dsns = stack.shard_dsns();
    let first = dsns.first().context("a stack with shards")?;
    let (server, _) = first.rsplit_once('/').context("a DSN with a database")?;
    let mut connection = first.parse::<PgConnectOptions>()?.connect().await?;
    let mut made = Vec::with_capacity(count);
    for number in 0..count {
        let database = format!("{name}_{number:02}");
        for statement in [
            format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            format!("CREATE DATABASE {database} STRATEGY FILE_COPY TEMPLATE template0"),
        ] {
            connection.execute(sqlx::AssertSqlSafe(statement)).await?;
        }
        made.push(format!("{server}/{database}"));
    }
    connection.close().await?;
    Ok(made)
}
