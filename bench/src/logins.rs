//! Logins a second against bare argon2id with the same parameters on as many threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ack::load;
use crate::bare_hash::{self, PASSWORD};
use crate::client::{Connection, request};
use crate::process;
use crate::report::{Row, Section};
use crate::stats::{Samples, count, median, millis};
use crate::warm_up;
use crate::world::World;

const PEOPLE: usize = 64;
const CLIENTS: usize = 8;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;

pub async fn run(world: &World) -> Result<Section> {
    register(world).await?;
    warm_up::until_compiled(world, async || log_in(world).await.map(drop)).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hash = bare_hash::make()?;
    let (mut logins, mut hashes, mut shares) = (vec![], vec![], vec![]);
    let mut samples = Samples::default();
    let pid = world
        .services
        .command()
        .pid()
        .context("the command service is gone")?;
    let mut cpu = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = process::cpu(pid)?;
        let (rate, round) = log_in(world).await?;
        cpu += process::cpu(pid)? - before;
        samples.extend(round);
        let bare = tokio::task::block_in_place(|| bare_hash::verifications(&hash, threads, ROUND));
        shares.push(rate / bare);
        logins.push(rate);
        hashes.push(bare);
    }
    let share = median(&shares);
    let rows = vec![
        Row::new(format!("logins/s, {CLIENTS} clients"), count(median(&logins)))
            .against(format!(
                "bare argon2id/s, {threads} threads: {}",
                count(median(&hashes))
            ))
            .ratio(share)
            .goal(">= 0.90", share >= 0.9),
        Row::new(
            "login, p50 and p99",
            format!("{}, {}", millis(samples.p50()), millis(samples.p99())),
        ),
        Row::new(
            "processor time of the command service a login",
            millis(cpu.div_f64(samples.len() as f64)),
        )
        .against(format!(
            "one bare hash: {}",
            millis(Duration::from_secs_f64(threads as f64 / median(&hashes)))
        )),
    ];
    Ok(Section { name: "logins", rows })
}

async fn register(world: &World) -> Result<()> {
    let mut connection = Connection::open(world.command).await?;
    for number in 0..PEOPLE {
        let name = format!("signs-in-{number}");
        let body = serde_json::json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        connection
            .send(&request("POST", "/v1/users", &[], &body.to_string()))
            .await?
            .expect(201)?;
    }
    Ok(())
}

async fn log_in(world: &World) -> Result<(f64, Samples)> {
    let next = AtomicUsize::new(0);
    load(world.command, CLIENTS, ROUND, 201, || {
        let name = format!("signs-in-{}", next.fetch_add(1, Ordering::Relaxed) % PEOPLE);
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        request("POST", "/v1/sessions", &[], &body)
    })
    .await
}
