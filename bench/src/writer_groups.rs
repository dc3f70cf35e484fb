//! How many writer groups a command service should have: logs with 1, 4 and 16, each under a
//! command service of its own, measured in turn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use local_stack::{Launch, Server, Stack};
use service_kit::keys::generate_key_files;

use crate::ack::load;
use crate::client::{Connection, request};
use crate::report::{Row, Section};
use crate::seed::{People, SignedIn, fresh_grant, seed};
use crate::stats::{Samples, count, median, millis};
use crate::world::{ENVIRONMENT, grant_path, program, sign_in};

const GROUPS: [i32; 3] = [1, 4, 16];
const USERS: usize = 2_000;
const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const ONE_CLIENT: usize = 200;
const ROUND: Duration = Duration::from_secs(4);
const PASSWORD: &str = "correct horse battery staple";

struct Candidate {
    groups: i32,
    people: People,
    address: SocketAddr,
    authorization: String,
    server: Server,
    grants: AtomicUsize,
    one: Samples,
    many: Samples,
    rates: Vec<f64>,
}

pub async fn run(stack: &Stack) -> Result<Section> {
    let mut candidates = Vec::new();
    for groups in GROUPS {
        candidates.push(Candidate::start(stack, groups).await?);
    }
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.one_client().await?;
        }
        for candidate in &mut candidates {
            let (rate, samples) =
                load(candidate.address, CLIENTS, ROUND, 200, || candidate.next_grant()).await?;
            candidate.rates.push(rate);
            candidate.many.extend(samples);
        }
    }
    let mut rows = Vec::new();
    for candidate in &candidates {
        candidate.server.stop().await?;
        rows.extend(candidate.rows());
    }
    Ok(Section {
        name: "writer-groups",
        rows,
    })
}

impl Candidate {
    async fn start(stack: &Stack, groups: i32) -> Result<Self> {
        let prefix = format!("groups-{groups}");
        let people = seed(stack, &prefix, groups, USERS, SignedIn::Some).await?;
        let folder = stack.data_dir().join(&prefix);
        let password = folder.join("admin-password");
        std::fs::write(&password, PASSWORD)?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let launch = Launch::new(
            "command-service",
            program("command-service")?,
            stack.log_of(&prefix),
        )
        .envs(ENVIRONMENT)
        .envs(generate_key_files(&folder.join("keys"))?.environment())
        .envs(local_rolecall::PLAIN)
        .env("ROLECALL_KAFKA", stack.kafka_bootstrap())
        .env("ROLECALL_TOPIC_PREFIX", &prefix)
        .env("ROLECALL_SCHEMA_REGISTRY_URL", stack.registry_url())
        .env("ROLECALL_ADMIN_PASSWORD_FILE", &password)
        .env("ROLECALL_LISTEN", address.to_string())
        .ready_at(format!("http://{address}/readyz"));
        let server = Server::start(launch).await?;
        let authorization = sign_in(address, PASSWORD).await?;
        Ok(Self {
            groups,
            people,
            address,
            authorization,
            server,
            grants: AtomicUsize::new(0),
            one: Samples::default(),
            many: Samples::default(),
            rates: vec![],
        })
    }

    fn next_grant(&self) -> Vec<u8> {
        let number = self.grants.fetch_add(1, Ordering::Relaxed);
        let (user, role) = fresh_grant(number, self.people.users.len());
        let path = grant_path(&self.people, user, role);
        request("PUT", &path, &[("authorization", &self.authorization)], "")
    }

    async fn one_client(&mut self) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for _ in 0..ONE_CLIENT {
            let request = self.next_grant();
            let sent = Instant::now();
            connection.send(&request).await?.expect(200)?;
            self.one.push(sent.elapsed());
        }
        Ok(())
    }

    fn rows(&self) -> [Row; 2] {
        let groups = match self.groups {
            1 => "1 writer group".to_owned(),
            groups => format!("{groups} writer groups"),
        };
        let both =
            |samples: &Samples| format!("p50 {}, p99 {}", millis(samples.p50()), millis(samples.p99()));
        [
            Row::new(format!("{groups}, one client"), both(&self.one)),
            Row::new(
                format!("{groups}, {CLIENTS} clients"),
                format!("{} grants/s, {}", count(median(&self.rates)), both(&self.many)),
            ),
        ]
    }
}
