//! Registrations a second against bare argon2id with the same parameters on as many threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::ack::load;
use crate::bare_hash::{self, PASSWORD};
use crate::client::request;
use crate::report::{Row, Section};
use crate::stats::{Samples, count, median, millis};
use crate::warm_up;
use crate::world::World;

const CLIENTS: usize = 8;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
const GOAL: f64 = 0.8;

pub async fn run(world: &World) -> Result<Section> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    warm_up::until_compiled(world, async || register(world, &next).await.map(drop)).await?;
    let (mut registrations, mut hashes, mut shares) = (vec![], vec![], vec![]);
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let (rate, round) = register(world, &next).await?;
        samples.extend(round);
        let bare = tokio::task::block_in_place(|| bare_hash::hashes(threads, ROUND));
        shares.push(rate / bare);
        registrations.push(rate);
        hashes.push(bare);
    }
    let share = median(&shares);
    let rows = vec![
        Row::new(
            format!("registrations/s, {CLIENTS} clients"),
            count(median(&registrations)),
        )
        .against(format!(
            "bare argon2id/s, {threads} threads: {}",
            count(median(&hashes))
        ))
        .ratio(share)
        .goal(">= 0.80", share >= GOAL),
        Row::new(
            "registration, p50 and p99",
            format!("{}, {}", millis(samples.p50()), millis(samples.p99())),
        ),
    ];
    Ok(Section {
        name: "registrations",
        rows,
    })
}

async fn register(world: &World, next: &AtomicUsize) -> Result<(f64, Samples)> {
    load(world.command, CLIENTS, ROUND, 201, || {
        let name = format!("registers-{}", next.fetch_add(1, Ordering::Relaxed));
        let body = serde_json::json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        request("POST", "/v1/users", &[], &body.to_string())
    })
    .await
}
