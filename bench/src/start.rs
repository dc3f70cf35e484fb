//! Starting the command service: from the whole log, and from snapshots of its aggregates.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use access_node::AccessNode;
use anyhow::{Context, Result, ensure};
use event_log::KafkaConfig;
use event_log::identity::await_log;
use local_rolecall::port_or_free;
use local_stack::{Launch, Server, Stack};
use service_kit::keys::generate_key_files;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection as _};

use crate::process::{cpu, resident_mb};
use crate::report::Row;
use crate::seed::People;
use crate::stats::count;
use crate::world::{databases, program};

const LIMIT: Duration = Duration::from_secs(1_800);
/// Longer than from one save to the next.
const SAVES: Duration = Duration::from_secs(5);
const RESIDENT: usize = 10_000;
const PORT: u16 = 15_901;

/// One command service and what it has.
struct Service<'a> {
    stack: &'a Stack,
    prefix: &'a str,
    shards: Vec<String>,
}

pub async fn run(stack: &Stack, prefix: &str, people: &People) -> Result<Vec<Row>> {
    let people = count(people.users.len() as f64);
    let mut service = Service {
        stack,
        prefix,
        shards: Vec::new(),
    };
    let mut rows = Vec::new();
    let (server, without) = service.start().await?;
    rows.push(without.row(&format!(
        "start of the command service without snapshots, {people} users"
    )));
    server.stop().await?;

    service.shards = databases(stack, "bench_start", 1).await?;
    let began = Instant::now();
    let (server, first) = service.start().await?;
    rows.push(first.row(&format!("its first start with them, {people} users")));
    let saved = service.saved().await?;
    rows.push(Row::new(
        "until all aggregates were saved, start included",
        format!("{:.1?}, {} rows", began.elapsed(), count(saved as f64)),
    ));
    server.stop().await?;

    let (server, with) = service.start().await?;
    rows.push(with.row(&format!("start from snapshots, {people} users")));
    server.stop().await?;
    let began = Instant::now();
    let kafka = KafkaConfig::plain(stack.kafka_bootstrap(), prefix);
    let node = AccessNode::start(&kafka, &await_log(&kafka).await?, None)?;
    node.caught_up().await;
    rows.push(Row::new(
        format!("an access node by itself, from the whole log, {people} users"),
        format!("{:.1?}", began.elapsed()),
    ));
    Ok(rows)
}

/// What a start took.
struct Start {
    took: Duration,
    processor: Duration,
    resident_mb: f64,
    phases: String,
}

impl Start {
    fn row(&self, what: &str) -> Row {
        Row::new(
            what,
            format!(
                "{:.1?} ({:.1?} of a processor), {:.0} MB; {}",
                self.took, self.processor, self.resident_mb, self.phases
            ),
        )
    }
}

/// What `/readyz` waited for, and until when.
#[derive(Default)]
struct Phases(BTreeMap<String, Duration>);

impl Phases {
    async fn watch(&mut self, url: String, began: Instant) -> Infallible {
        loop {
            if let Ok(answer) = reqwest::get(&url).await
                && let Ok(body) = answer.json::<serde_json::Value>().await
                && let Some(reasons) = body["reasons"].as_array()
            {
                for name in reasons.iter().filter_map(|it| it["condition"].as_str()) {
                    self.0.insert(name.to_owned(), began.elapsed());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn text(&self) -> String {
        let phases = self.0.iter().map(|(name, until)| format!("{name} {until:.1?}"));
        phases.collect::<Vec<_>>().join(", ")
    }
}

impl Service<'_> {
    async fn start(&self) -> Result<(Server, Start)> {
        let folder = self.stack.data_dir().join(self.prefix);
        let keys = generate_key_files(&folder.join("keys"))?;
        let password = folder.join("admin-password");
        if !password.exists() {
            std::fs::write(&password, "a password for the bench")?;
        }
        let port = port_or_free(PORT)?;
        let root = format!("http://127.0.0.1:{port}");
        let launch = Launch::new(
            "command-service",
            program("command-service")?,
            self.stack.log_of("start"),
        )
        .envs(local_rolecall::PLAIN)
        .env("ROLECALL_KAFKA", self.stack.kafka_bootstrap())
        .env("ROLECALL_TOPIC_PREFIX", self.prefix)
        .env("ROLECALL_SCHEMA_REGISTRY_URL", self.stack.registry_url())
        .env("ROLECALL_ADMIN_PASSWORD_FILE", &password)
        .env("ROLECALL_SHARDS", self.shards.join(","))
        .env("ROLECALL_RESIDENT_AGGREGATES", RESIDENT.to_string())
        .env("ROLECALL_LISTEN", format!("127.0.0.1:{port}"))
        .envs(keys.environment())
        .ready_at(format!("{root}/readyz"))
        .start_within(LIMIT);
        let began = Instant::now();
        let mut phases = Phases::default();
        let server = tokio::select! {
            server = Server::start(launch) => server?,
            never = phases.watch(format!("{root}/readyz"), began) => match never {},
        };
        let (took, pid) = (began.elapsed(), server.pid().context("the service is gone")?);
        let start = Start {
            took,
            processor: cpu(pid)?,
            resident_mb: resident_mb(pid)?,
            phases: phases.text(),
        };
        Ok((server, start))
    }

    /// Waits until the snapshots move no more; gives how many rows there are.
    async fn saved(&self) -> Result<i64> {
        let (mut before, began) = (-1, Instant::now());
        loop {
            let mut sum = 0;
            for dsn in &self.shards {
                let mut shard = dsn.parse::<PgConnectOptions>()?.connect().await?;
                let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM aggregate_snapshots")
                    .fetch_one(&mut shard)
                    .await?;
                sum += rows;
                shard.close().await?;
            }
            if sum == before {
                return Ok(sum);
            }
            before = sum;
            ensure!(began.elapsed() < LIMIT, "it is not saved in time");
            tokio::time::sleep(SAVES).await;
        }
    }
}
