//! Projectors share the shards; the rows are what the log says, whoever wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::{Instance, Load, World, until};

const SHARDS: usize = 4;
/// A member that died is missed after 6 s; the rest is a crowded machine.
const REPLACED: Duration = Duration::from_secs(60);
/// Whoever comes or leaves by itself is noticed at once.
const MOVED: Duration = Duration::from_secs(60);

/// The shards that a projector works on, as its metrics tell; none while it does not answer.
async fn shards_of(world: &World, url: &str) -> BTreeSet<usize> {
    let text = world.metrics(url).await.unwrap_or_default();
    let lanes = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("projector_lanes_owned{shard=\"")?;
        let (shard, count) = rest.split_once("\"} ")?;
        (count != "0").then(|| shard.parse().unwrap())
    });
    lanes.collect()
}

/// Whether each of these projectors has some shards, and every shard is one's alone.
async fn is_shared_by(world: &World, urls: &[&str]) -> bool {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for url in urls {
        let shards = shards_of(world, url).await;
        if shards.is_empty() {
            return false;
        }
        for shard in shards {
            *counts.entry(shard).or_default() += 1;
        }
    }
    counts.len() == SHARDS && counts.values().all(|count| *count == 1)
}

async fn shared_by(world: &World, urls: &[&str], within: Duration) -> Duration {
    until(within, "all shards are shared out", || async {
        is_shared_by(world, urls).await
    })
    .await
}

async fn all_ready(world: &World, others: &[&Instance]) {
    let servers = others
        .iter()
        .map(|it| &it.server)
        .chain([world.rolecall.projector()]);
    for server in servers {
        until(REPLACED, "every projector is ready", || async {
            server.is_ready().await
        })
        .await;
    }
}

pub async fn projectors_share_the_shards_and_replace_each_other(world: Arc<World>) {
    let first = world.rolecall.projector_url();
    let load = Load::start(&world, 4).await;
    let second = world.another("projector").await;
    shared_by(&world, &[&first, &second.url], MOVED).await;
    load.more(50).await;

    second.server.kill().await.unwrap();
    let took = shared_by(&world, &[&first], REPLACED).await;
    println!(
        "        the rest had all shards {:.1} s after the kill",
        took.as_secs_f64()
    );
    load.more(50).await;
    second.server.restart().await.unwrap();
    let third = world.another("projector").await;
    shared_by(&world, &[&first, &second.url, &third.url], MOVED).await;
    load.more(50).await;

    world.rolecall.projector().stop().await.unwrap();
    let took = shared_by(&world, &[&second.url, &third.url], MOVED).await;
    println!(
        "        the rest had all shards {:.1} s after a stop",
        took.as_secs_f64()
    );
    load.more(50).await;
    world.rolecall.projector().restart().await.unwrap();
    shared_by(&world, &[&first, &second.url, &third.url], MOVED).await;
    load.more(20).await;
    load.reckon().await;
    all_ready(&world, &[&second, &third]).await;
    world.rebuild_is_equal().await;
    second.server.stop().await.unwrap();
    third.server.stop().await.unwrap();
    shared_by(&world, &[&first], MOVED).await;
}

pub async fn a_killed_projector_that_comes_back_works_soon(world: Arc<World>) {
    let alone = world.rolecall.projector();
    for _ in 0..2 {
        let killed = Instant::now();
        alone.kill().await.unwrap();
        alone.restart().await.unwrap();
        shared_by(&world, &[&world.rolecall.projector_url()], REPLACED).await;
        let took = killed.elapsed();
        println!(
            "        it worked again {:.1} s after the kill",
            took.as_secs_f64()
        );
        assert!(took < REPLACED, "{took:?}");
        let person = world.person("late").await;
        let path = format!("/v1/users/{}", person.id);
        person.query(&path, &person.token).await.expect(200);
    }
}

/// What it had in hand when it was stopped is applied by another meanwhile.
pub async fn a_frozen_projector_neither_doubles_nor_halts(world: Arc<World>) {
    let first = world.rolecall.projector_url();
    let second = world.another("projector").await;
    shared_by(&world, &[&first, &second.url], MOVED).await;
    let load = Load::start(&world, 4).await;
    for _ in 0..2 {
        second.server.pause().unwrap();
        shared_by(&world, &[&first], REPLACED).await;
        load.more(50).await;
        second.server.resume().unwrap();
        shared_by(&world, &[&first, &second.url], REPLACED).await;
        load.more(50).await;
    }
    load.reckon().await;
    all_ready(&world, &[&second]).await;
    world.rebuild_is_equal().await;
    second.server.stop().await.unwrap();
}
