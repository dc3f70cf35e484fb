//! Logins a second against bare argon2id with the same parameters on as many threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

use crate::client::{Connection, request};
use crate::process;
use crate::report::{Row, Section};
use crate::stats::{Samples, count, median, millis};
use crate::world::World;

const PASSWORD: &str = "correct horse battery staple";
const PEOPLE: usize = 64;
const CLIENTS: usize = 8;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;

pub async fn run(world: &World) -> Result<Section> {
    register(world).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hash = Argon2::default()
        .hash_password(PASSWORD.as_bytes())
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .to_string();
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
        let bare = tokio::task::block_in_place(|| verifications(&hash, threads));
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
            .goal(">= 0.80", share >= 0.8),
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
    let began = Instant::now();
    let (next, began_ref) = (&next, &began);
    let runs = (0..CLIENTS).map(async |_| -> Result<Samples> {
        let mut connection = Connection::open(world.command).await?;
        let mut samples = Samples::default();
        while began_ref.elapsed() < ROUND {
            let name = format!("signs-in-{}", next.fetch_add(1, Ordering::Relaxed) % PEOPLE);
            let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
            let request = request("POST", "/v1/sessions", &[], &body);
            let sent = Instant::now();
            connection.send(&request).await?.expect(201)?;
            samples.push(sent.elapsed());
        }
        Ok(samples)
    });
    let mut all = Samples::default();
    for samples in futures::future::try_join_all(runs).await? {
        all.extend(samples);
    }
    Ok((all.len() as f64 / began.elapsed().as_secs_f64(), all))
}

/// What a login checks, and nothing else.
fn verifications(phc: &str, threads: usize) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let Ok(hash) = PasswordHash::new(phc) else { return };
                while !stop.load(Ordering::Relaxed) {
                    if Argon2::default()
                        .verify_password(PASSWORD.as_bytes(), &hash)
                        .is_ok()
                    {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        std::thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
