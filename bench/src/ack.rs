//! How long a command takes until its answer, against a bare transaction of one such record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use local_stack::Stack;

use crate::bare_producer::{BareProducer, sample_grant};
use crate::client::Connection;
use crate::report::{Row, Section};
use crate::stats::{Samples, count, median, millis};
use crate::world::World;

const SAMPLES: usize = 1_500;
const WARM_UP: usize = 100;
const CLIENTS: usize = 32;
/// As many bare producers as the command service has writer groups.
const PRODUCERS: usize = 4;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub async fn run(stack: &Stack, world: &World) -> Result<Section> {
    let sample = sample_grant(stack, world.services.topic_prefix()).await?;
    let bytes = sample.bytes();
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        producers.push(BareProducer::start(stack, &format!("bench-bare-{number}"), &sample).await?);
    }
    let (grants, bare) = one_client(world, &producers[0]).await?;
    let mut rows = vec![
        Row::new("grant, one client, p50", millis(grants.p50()))
            .against(format!("bare transaction ({bytes} bytes) {}", millis(bare.p50())))
            .ratio(ratio(grants.p50(), bare.p50()))
            .goal("<= 2", ratio(grants.p50(), bare.p50()) <= 2.0),
        Row::new("grant, one client, p99", millis(grants.p99()))
            .against(format!("bare transaction {}", millis(bare.p99())))
            .ratio(ratio(grants.p99(), bare.p99())),
    ];
    let (mut rates, mut bare_rates, mut samples) = (vec![], vec![], Samples::default());
    for _ in 0..ROUNDS {
        let (rate, round) = many_clients(world, CLIENTS, ROUND).await?;
        rates.push(rate);
        samples.extend(round);
        bare_rates.push(transactions(&mut producers, ROUND));
    }
    let (rate, bare_rate) = (median(&rates), median(&bare_rates));
    rows.push(
        Row::new(format!("grants/s, {CLIENTS} clients"), count(rate))
            .against(format!(
                "bare transactions/s, {PRODUCERS} producers: {}",
                count(bare_rate)
            ))
            .ratio(rate / bare_rate),
    );
    rows.push(Row::new(
        format!("grant, {CLIENTS} clients, p50 and p99"),
        format!("{}, {}", millis(samples.p50()), millis(samples.p99())),
    ));
    Ok(Section { name: "ack", rows })
}

fn ratio(this: Duration, other: Duration) -> f64 {
    this.as_secs_f64() / other.as_secs_f64()
}

/// One after the other, in turn.
async fn one_client(world: &World, producer: &BareProducer) -> Result<(Samples, Samples)> {
    let mut connection = Connection::open(world.command).await?;
    let (mut grants, mut bare) = (Samples::default(), Samples::default());
    for number in 0..WARM_UP + SAMPLES {
        let request = world.next_grant();
        let began = Instant::now();
        connection.send(&request).await?.expect(200)?;
        let granted = began.elapsed();
        let began = Instant::now();
        tokio::task::block_in_place(|| producer.commit_one())?;
        if number >= WARM_UP {
            grants.push(granted);
            bare.push(began.elapsed());
        }
    }
    Ok((grants, bare))
}

/// Grants a second by clients that each wait for their answer, and what each took.
pub async fn many_clients(world: &World, clients: usize, round: Duration) -> Result<(f64, Samples)> {
    load(world.command, clients, round, 200, || world.next_grant()).await
}

/// Runs `clients` connections side by side for a while; `next` makes each request, and every answer has this status.
pub async fn load(
    address: std::net::SocketAddr,
    clients: usize,
    round: Duration,
    status: u16,
    next: impl Fn() -> Vec<u8>,
) -> Result<(f64, Samples)> {
    let began = Instant::now();
    let next = &next;
    let runs = (0..clients).map(async |_| -> Result<Samples> {
        let mut connection = Connection::open(address).await?;
        let mut samples = Samples::default();
        while began.elapsed() < round {
            let request = next();
            let sent = Instant::now();
            connection.send(&request).await?.expect(status)?;
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

/// Transactions a second of all producers together.
fn transactions(producers: &mut [BareProducer], round: Duration) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for producer in producers.iter_mut() {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) && producer.commit_one().is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            std::thread::sleep(round);
            stop.store(true, Ordering::Relaxed);
        });
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
