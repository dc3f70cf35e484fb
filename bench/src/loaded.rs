//! How long a sign-in, a refresh and a check take while the log holds as many users and live sessions as were asked for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bare_hash::{self, PASSWORD};
use crate::client::{Connection, request};
use crate::process::resident_mb;
use crate::refreshes;
use crate::report::{Row, Section};
use crate::seed::{ROLES, resource};
use crate::stats::{Samples, count, millis};
use crate::warm_up;
use crate::world::World;

/// At once: enough to share the machine, too few to fill it.
const CLIENTS: usize = 16;
const SIGN_INS: usize = 400;
const REFRESHES: Duration = Duration::from_secs(10);
const WARMING: Duration = Duration::from_secs(5);
const CHECKS: usize = 100_000;
/// Of the seed.
const LIMIT: Duration = Duration::from_millis(100);
const OWN: Duration = Duration::from_millis(10);

pub async fn run(world: &World) -> Result<Section> {
    let people = count(world.people.users.len() as f64);
    let mut sessions = refreshes::sessions(world, "loaded", CLIENTS).await?;
    let warming = async || refreshes::rotate(&mut sessions, WARMING).await.map(drop);
    warm_up::until_compiled(world, warming).await?;
    let (sign_in, hash) = sign_in(world).await?;
    let own = sign_in.quantile(0.95).saturating_sub(hash.quantile(0.95));
    let (_, refresh) = refreshes::rotate(&mut sessions, REFRESHES).await?;
    let check = check(world).await?;
    let row = |what: &str, samples: &Samples, goal: Duration| {
        let p95 = samples.quantile(0.95);
        Row::new(
            format!("{what}, {people} users with a session each, p50, p95 and p99"),
            format!(
                "{}, {}, {}",
                millis(samples.p50()),
                millis(p95),
                millis(samples.p99())
            ),
        )
        .goal(format!("p95 < {} ms", goal.as_millis()), p95 < goal)
    };
    let services = &world.services;
    let mut memory = Vec::new();
    for server in [services.command(), services.query(), services.projector()] {
        memory.push(resident_mb(server.pid().context("a service is gone")?)?);
    }
    let rows = vec![
        row("sign-in, one client", &sign_in, LIMIT).against(format!(
            "bare argon2id, one thread: p95 {}",
            millis(hash.quantile(0.95))
        )),
        Row::new("sign-in without its hash, p95 less p95", millis(own)).goal("< 10 ms", own < OWN),
        row(&format!("refresh, {CLIENTS} clients"), &refresh, OWN),
        row(&format!("check, {CLIENTS} clients"), &check, OWN),
        Row::new(
            format!("memory of the command, query and projector service, {people} users"),
            format!("{:.0}, {:.0} and {:.0} MB", memory[0], memory[1], memory[2]),
        ),
    ];
    Ok(Section { name: "loaded", rows })
}

/// Sign-ins and bare hashes in turn.
async fn sign_in(world: &World) -> Result<(Samples, Samples)> {
    let hash = bare_hash::make()?;
    let mut connection = Connection::open(world.command).await?;
    let (mut sign_ins, mut hashes) = (Samples::default(), Samples::default());
    for number in 0..SIGN_INS {
        let name = format!("loaded-{}", number % CLIENTS);
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        let request = request("POST", "/v1/sessions", &[], &body);
        let sent = Instant::now();
        connection.send(&request).await?.expect(201)?;
        sign_ins.push(sent.elapsed());
        let began = Instant::now();
        ensure!(
            tokio::task::block_in_place(|| bare_hash::verify(&hash)),
            "the hash does not fit"
        );
        hashes.push(began.elapsed());
    }
    Ok((sign_ins, hashes))
}

/// Of users all over the log, half of them allowed.
async fn check(world: &World) -> Result<Samples> {
    let users = world.people.users.len();
    let runs = (0..CLIENTS).map(async |client| -> Result<Samples> {
        let mut connection = Connection::open(world.query).await?;
        let mut samples = Samples::default();
        for number in (client..CHECKS).step_by(CLIENTS) {
            let (user, allowed) = (number * 7_919 % users, number.is_multiple_of(2));
            let role = if allowed { user } else { user + ROLES / 2 };
            let body = serde_json::json!({
                "subject": { "type": "user", "id": world.people.users[user] },
                "action": { "name": "read" },
                "resource": { "type": resource(role), "id": "1" },
            });
            let headers = [("authorization", world.authorization.as_str())];
            let request = request("POST", "/access/v1/evaluation", &headers, &body.to_string());
            let sent = Instant::now();
            let decision = connection.send(&request).await?.expect(200)?.decision()?;
            samples.push(sent.elapsed());
            ensure!(decision == allowed, "a wrong decision");
        }
        Ok(samples)
    });
    let mut all = Samples::default();
    for samples in futures::future::try_join_all(runs).await? {
        all.extend(samples);
    }
    Ok(all)
}
