//! Checks a second over HTTP against a handler that only parses the same body and answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_stack::{Launch, Server, Stack};

use crate::client::{Connection, request};
use crate::process;
use crate::report::{Row, Section};
use crate::seed::{ROLES, resource};
use crate::stats::{Samples, count, median, millis};
use crate::world::World;

const CONNECTIONS: usize = 16;
const USERS: usize = 10_000;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 7;

struct Load {
    rate: f64,
    samples: Samples,
    /// Of the server, a request.
    cpu: Duration,
}

/// A request with the answer that it must get.
type Question = (Vec<u8>, bool);

pub async fn run(stack: &Stack, world: &World) -> Result<Section> {
    let questions: Arc<[Question]> = questions(world).into();
    let bare = start_bare(stack).await?;
    let (ours, others) = (
        Target::of(world.services.query(), world.query)?,
        Target::of(&bare.server, bare.address)?,
    );
    ours.load(&questions, true).await?;
    others.load(&questions, false).await?;
    let (mut rolecall, mut handler) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        rolecall.push(ours.load(&questions, true).await?);
        handler.push(others.load(&questions, false).await?);
    }
    bare.server.stop().await?;
    let of = |loads: &[Load], value: fn(&Load) -> f64| median(&loads.iter().map(value).collect::<Vec<_>>());
    let shares: Vec<f64> = rolecall
        .iter()
        .zip(&handler)
        .map(|(a, b)| a.rate / b.rate)
        .collect();
    let share = median(&shares);
    let micros = |load: &Load| load.cpu.as_secs_f64() * 1e6;
    let (cpu, bare_cpu) = (of(&rolecall, micros), of(&handler, micros));
    let mut latency = Samples::default();
    rolecall
        .iter()
        .for_each(|load| latency.extend(load.samples.clone()));
    let rows = vec![
        Row::new(
            format!("checks/s, {CONNECTIONS} connections, {USERS} users, {ROLES} roles"),
            count(of(&rolecall, |l| l.rate)),
        )
        .against(format!(
            "bare handler, answers/s: {}",
            count(of(&handler, |l| l.rate))
        ))
        .ratio(share)
        .goal(">= 0.50", share >= 0.5),
        Row::new("processor time of the server a check", format!("{cpu:.1} us"))
            .against(format!("bare handler: {bare_cpu:.1} us"))
            .ratio(cpu / bare_cpu),
        Row::new(
            "check at that load, p50 and p99",
            format!("{}, {}", millis(latency.p50()), millis(latency.p99())),
        ),
    ];
    Ok(Section { name: "checks", rows })
}

/// Half of them allowed.
fn questions(world: &World) -> Vec<Question> {
    let users = USERS.min(world.people.users.len());
    (0..users)
        .map(|user| {
            let allowed = user.is_multiple_of(2);
            // Of the first of the user's roles, or of one far from both.
            let role = if allowed {
                user % ROLES
            } else {
                (user + ROLES / 2) % ROLES
            };
            let body = serde_json::json!({
                "subject": { "type": "user", "id": world.people.users[user] },
                "action": { "name": "read" },
                "resource": { "type": resource(role), "id": "1" },
            });
            let headers = [("authorization", world.authorization.as_str())];
            (
                request("POST", "/access/v1/evaluation", &headers, &body.to_string()),
                allowed,
            )
        })
        .collect()
}

struct Target {
    pid: u32,
    address: SocketAddr,
}

impl Target {
    fn of(server: &Server, address: SocketAddr) -> Result<Self> {
        let pid = server
            .pid()
            .with_context(|| format!("{} is gone", server.name()))?;
        Ok(Self { pid, address })
    }

    /// `decides`: the answers must be right.
    async fn load(&self, questions: &Arc<[Question]>, decides: bool) -> Result<Load> {
        let next = Arc::new(AtomicUsize::new(0));
        let (before, began) = (process::cpu(self.pid)?, Instant::now());
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (address, questions, next) = (self.address, Arc::clone(questions), Arc::clone(&next));
            clients.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut samples = Samples::default();
                while began.elapsed() < ROUND {
                    let (request, allowed) =
                        &questions[next.fetch_add(1, Ordering::Relaxed) % questions.len()];
                    let sent = Instant::now();
                    let decision = connection.send(request).await?.expect(200)?.decision()?;
                    ensure!(!decides || decision == *allowed, "a wrong decision");
                    samples.push(sent.elapsed());
                }
                Ok::<_, anyhow::Error>(samples)
            });
        }
        let mut samples = Samples::default();
        while let Some(client) = clients.join_next().await {
            samples.extend(client??);
        }
        let cpu = process::cpu(self.pid)? - before;
        let requests = samples.len() as f64;
        Ok(Load {
            rate: requests / began.elapsed().as_secs_f64(),
            cpu: cpu.div_f64(requests),
            samples,
        })
    }
}

struct Bare {
    server: Server,
    address: SocketAddr,
}

/// In a process of its own, as the query service is.
async fn start_bare(stack: &Stack) -> Result<Bare> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let launch = Launch::new(
        "bare-handler",
        std::env::current_exe()?,
        stack.log_of("bare-handler"),
    )
    .arg("--serve-bare")
    .arg(address.to_string())
    .ready_at(format!("http://{address}/healthz"));
    Ok(Bare {
        server: Server::start(launch).await?,
        address,
    })
}
