//! Three command services on three brokers: what a command costs there, and how long a ledger is out when
//! its owner is stopped or killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::ledger::ledger_of;
use local_rolecall::LocalRolecall;
use local_stack::{Progress, Stack};
use parking_lot::Mutex;
use schemas::Timestamp;

use crate::bare_producer::{BareProducer, sample_grant};
use crate::client::{Connection, request};
use crate::report::{Row, Section};
use crate::seed::LEDGERS;
use crate::stats::{Samples, millis};
use crate::world::{ENVIRONMENT, address, sign_in};

const PREFIX: &str = "bench-instances";
const INSTANCES: usize = 3;
const BROKERS: usize = 3;
const PEOPLE: usize = 24;
const WARM_UP: usize = 60;
const SAMPLES: usize = 900;
const MOVES: usize = 9;
/// A prober's answer that took this long, or a refusal, is an outage and no slow transaction.
const CALL: Duration = Duration::from_secs(20);

pub async fn run() -> Result<Section> {
    let stack = Stack::builder()
        .kafka_nodes(BROKERS)
        .shards(1)
        .progress(Progress::shown())
        .start()
        .await?;
    let outcome = measure(&stack).await;
    stack.shutdown().await?;
    outcome
}

async fn measure(stack: &Stack) -> Result<Section> {
    let mut builder = LocalRolecall::builder()
        .topic_prefix(PREFIX)
        .commands(INSTANCES)
        .env("ROLECALL_REPLICATION", BROKERS.to_string());
    for (name, value) in ENVIRONMENT {
        builder = builder.env(name, value);
    }
    let services = builder.start(stack).await?;
    let place = Place::prepare(&services).await?;
    let mut rows = acknowledged(stack, &place).await?;
    rows.push(
        moved(&services, &place, "stopped and started", MOVES, async |server| {
            server.restart().await
        })
        .await?
        .row("planned move of a ledger", "< 500 ms", Duration::from_millis(500)),
    );
    rows.push(
        moved(&services, &place, "killed", MOVES, async |server| {
            server.kill().await?;
            tokio::time::sleep(Duration::from_secs(9)).await;
            server.restart().await
        })
        .await?
        .row("ledger whose owner is killed", "< 10 s", Duration::from_secs(10)),
    );
    services.shutdown().await?;
    Ok(Section {
        name: "instances",
        rows,
    })
}

/// The instances, and people whose grants are asked for.
struct Place {
    commands: Vec<SocketAddr>,
    authorization: String,
    people: Vec<String>,
    grants: AtomicI64,
}

impl Place {
    async fn prepare(services: &LocalRolecall) -> Result<Self> {
        let commands = (0..INSTANCES)
            .map(|index| address(&services.url(local_rolecall::Service::Command, index)))
            .collect::<Result<Vec<_>>>()?;
        let authorization = sign_in(commands[0], services.admin_password()).await?;
        let mut connection = Connection::open(commands[0]).await?;
        let headers = [("authorization", authorization.as_str())];
        connection
            .send(&request("PUT", "/v1/roles/reader", &headers, ""))
            .await?
            .expect(200)?;
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let body = serde_json::json!({
                "username": format!("prober{number}"),
                "email": format!("prober{number}@example.org"),
                "password": "correct horse battery",
            });
            let answer = connection
                .send(&request("POST", "/v1/users", &headers, &body.to_string()))
                .await?
                .expect(201)?;
            people.push(answer.text("user_id")?);
        }
        Ok(Self {
            commands,
            authorization,
            people,
            grants: AtomicI64::new(0),
        })
    }

    /// Each is a new event: it has an expiry of its own.
    fn grant(&self, person: &str) -> Vec<u8> {
        let number = self.grants.fetch_add(1, Ordering::Relaxed);
        let expires_at = Timestamp::from_micros(4_102_444_800_000_000 + number * 1_000_000);
        let body = serde_json::json!({ "expires_at": expires_at.to_string() }).to_string();
        let headers = [("authorization", self.authorization.as_str())];
        request(
            "PUT",
            &format!("/v1/users/{person}/roles/reader"),
            &headers,
            &body,
        )
    }
}

async fn acknowledged(stack: &Stack, place: &Place) -> Result<Vec<Row>> {
    let mut connections = Vec::new();
    for &command in &place.commands {
        connections.push(Connection::open(command).await?);
    }
    // One grant at least must stand in the log to be imitated.
    connections[0]
        .send(&place.grant(&place.people[0]))
        .await?
        .expect(200)?;
    let sample = sample_grant(stack, PREFIX).await?;
    let producer = BareProducer::start(stack, "bench-instances-bare", &sample).await?;
    let (mut grants, mut bare) = (Samples::default(), Samples::default());
    for number in 0..WARM_UP + SAMPLES {
        let grant = place.grant(&place.people[number % PEOPLE]);
        let began = Instant::now();
        let connection = &mut connections[number % INSTANCES];
        connection.send(&grant).await?.expect(200)?;
        let granted = began.elapsed();
        let began = Instant::now();
        tokio::task::block_in_place(|| producer.commit_one())?;
        if number >= WARM_UP {
            grants.push(granted);
            bare.push(began.elapsed());
        }
    }
    let ratio = grants.p50().as_secs_f64() / bare.p50().as_secs_f64();
    Ok(vec![
        Row::new(
            "grant at any of 3 instances, 3 brokers, p50",
            millis(grants.p50()),
        )
        .against(format!("bare transaction {}", millis(bare.p50())))
        .ratio(ratio)
        .goal("<= 3", ratio <= 3.0),
        Row::new("grant at any of 3 instances, p99", millis(grants.p99()))
            .against(format!("bare transaction {}", millis(bare.p99()))),
    ])
}

/// The longest time without an acknowledged command, by ledger, of each move.
struct Outages(Vec<Duration>);

impl Outages {
    fn row(mut self, what: &str, goal: &str, limit: Duration) -> Row {
        self.0.sort_unstable();
        let worst = self.0.last().copied().unwrap_or_default();
        let p50 = self.0.get(self.0.len() / 2).copied().unwrap_or_default();
        Row::new(
            format!("{what}, out for, p50 and longest of {}", self.0.len()),
            format!("{}, {}", millis(p50), millis(worst)),
        )
        .goal(goal, worst < limit)
    }
}

/// Has one instance after the other suffer while every ledger is probed through the others. Only ledgers
/// that were out longer than a transaction takes belonged to it: of each move the three longest count.
async fn moved(
    services: &LocalRolecall,
    place: &Place,
    how: &str,
    times: usize,
    suffer: impl AsyncFn(&local_stack::Server) -> local_stack::Result<()>,
) -> Result<Outages> {
    let mut outages = Vec::new();
    for number in 0..times {
        let victim = number % INSTANCES;
        let (stop, gaps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(BTreeMap::new())),
        );
        let probes = place.people.iter().enumerate().map(|(index, person)| {
            let via = place.commands[(victim + 1 + index % (INSTANCES - 1)) % INSTANCES];
            probe(place, person, via, &stop, &gaps)
        });
        let suffering = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let outcome = suffer(services.server(local_rolecall::Service::Command, victim)).await;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            stop.store(true, Ordering::Relaxed);
            outcome
        };
        let (probed, suffered) = tokio::join!(futures::future::try_join_all(probes), suffering);
        probed?;
        suffered.with_context(|| format!("an instance is {how}"))?;
        let mut longest: Vec<Duration> = gaps.lock().values().copied().collect();
        longest.sort_unstable();
        outages.extend(longest.iter().rev().take(3));
    }
    Ok(Outages(outages))
}

/// Sends one grant after the other, and notes the longest time between two acknowledged ones of its ledger.
async fn probe(
    place: &Place,
    person: &str,
    via: SocketAddr,
    stop: &AtomicBool,
    gaps: &Mutex<BTreeMap<i32, Duration>>,
) -> Result<()> {
    let ledger = ledger_of(person, LEDGERS);
    let mut connection = Connection::open(via).await?;
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let grant = place.grant(person);
        match tokio::time::timeout(CALL, connection.send(&grant)).await {
            Ok(Ok(answer)) if answer.status == 200 => {
                let gap = last.elapsed();
                last = Instant::now();
                let mut gaps = gaps.lock();
                let longest = gaps.entry(ledger).or_default();
                *longest = gap.max(*longest);
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => connection = Connection::open(via).await?,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
