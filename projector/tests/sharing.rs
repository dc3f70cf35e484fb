//! Several projectors share the shards; whoever is given which, each event is applied once.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod common;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::history::{History, Mix};
use common::{TOPICS, VecLog, databases, empty};
use event_log::Share;
use projector::{Assignment, Ending, Lane, Projection, ShardError, rebuild};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use read_model::digest::{DigestsAt, digests};
use read_model::queries::Snapshot;
use read_model::{PoolSettings, Shard, ShardId, Shards};
use service_kit::Readiness;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEDGERS: i32 = 4;
const SHARDS: ShardId = 3;

/// A projector with connections of its own, and what it is told to work on.
struct Instance {
    told: watch::Sender<Option<Share>>,
    readiness: Readiness,
    stop: CancellationToken,
    running: JoinHandle<Result<Vec<Ending>, ShardError>>,
}

impl Instance {
    fn start(log: &VecLog, dsns: &[String], batch_limit: usize) -> Self {
        let shards = Shards::connect_lazy(dsns, &PoolSettings::projecting()).unwrap();
        let (told, share) = watch::channel(None);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let projection = Projection {
            assignment: Assignment::shared(format!("{TOPICS}.projectors"), share),
            batch_limit,
            ..Projection::new(log.clone(), VecLog::known(LEDGERS), &shards, readiness.clone())
        };
        let running = tokio::spawn(projection.run(stop.clone()));
        Self {
            told,
            readiness,
            stop,
            running,
        }
    }

    fn tell(&self, shards: impl IntoIterator<Item = ShardId>) {
        let place = |shard| (format!("{TOPICS}.projectors"), shard);
        self.told
            .send_replace(Some(shards.into_iter().map(place).collect()));
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// As the test sees them: not under the name of a projector.
fn observed(dsns: &[String]) -> Shards {
    let settings = PoolSettings {
        application_name: "test",
        ..PoolSettings::projecting()
    };
    Shards::connect_lazy(dsns, &settings).unwrap()
}

/// While nobody works: whoever was stopped half way has not left a transaction open in its pool.
async fn nothing_stays_open(pool: &PgPool) {
    let sql = "SELECT coalesce(string_agg(quote_literal(query), '; '), '') FROM pg_stat_activity
               WHERE application_name = 'rolecall-projector' AND state LIKE 'idle in transaction%'";
    let began = Instant::now();
    loop {
        let open: String = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
        if open.is_empty() {
            return;
        }
        // Long before the database itself ends it.
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "transactions are left, last: {open}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until(is_so: impl AsyncFn() -> bool) {
    while !is_so().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where the checkpoints of a shard stand; nothing while it has no tables.
async fn checkpoints(pool: &PgPool) -> HashMap<(String, i32), i64> {
    let Ok(mut snapshot) = Snapshot::begin(pool).await else {
        return HashMap::new();
    };
    let found = snapshot.checkpoints().await.unwrap_or_default();
    let place = |it: read_model::checkpoint::Placed| ((it.topic, it.partition), it.checkpoint.next_offset);
    found.into_iter().map(place).collect()
}

async fn applied(pools: &[PgPool]) -> i64 {
    let mut sum = 0;
    for pool in pools {
        sum += checkpoints(pool).await.values().sum::<i64>();
    }
    sum
}

/// The lanes of a shard, and where each ends.
fn ends(log: &VecLog, shards: &Shards, shard: ShardId) -> HashMap<(String, i32), i64> {
    let ledgers = shards.map().ledgers_of(shard, LEDGERS);
    let is_there =
        |(stream, partition): &Lane| *stream == schemas::Stream::Catalog || ledgers.contains(partition);
    let ends = log.ends().into_iter().filter(|(lane, _)| is_there(lane));
    ends.map(|((stream, partition), end)| ((format!("{TOPICS}.{}", stream.name()), partition), end))
        .collect()
}

async fn is_filled(log: &VecLog, shards: &Shards) -> bool {
    for shard in shards.iter() {
        let found = checkpoints(&shard.pool).await;
        if ends(log, shards, shard.id)
            .iter()
            .any(|(place, end)| found.get(place) != Some(end))
        {
            return false;
        }
    }
    true
}

async fn all_digests(shards: &Shards) -> Vec<DigestsAt> {
    let mut all = Vec::new();
    for shard in shards.iter() {
        let ledgers = shards.map().ledgers_of(shard.id, LEDGERS);
        all.push(digests(&shard.pool, &ledgers).await.unwrap());
    }
    all
}

/// What each shard should be, by one projector into the empty databases.
async fn rebuilt(log: &VecLog, shards: &Shards) -> Vec<DigestsAt> {
    let mut all = Vec::new();
    for shard in shards.iter() {
        empty(&shard.pool).await;
        let scratch = Shard::new(shard.id, shard.pool.clone());
        let (known, map) = (VecLog::known(LEDGERS), (*shards.map()).clone());
        let stop = CancellationToken::new();
        all.push(
            rebuild(log.clone(), known, map, scratch, log.ends(), 4096, stop)
                .await
                .unwrap(),
        );
    }
    all
}

fn log(seed: u64, events: usize) -> VecLog {
    let mix = Mix {
        users: 30,
        events,
        catalog_every: 9,
    };
    History::new(seed, LEDGERS).generate(mix).build(seed, 7)
}

/// Moves every shard about among three projectors while they work, gives it to two at once and to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn shares_that_move_lose_and_double_nothing() {
    let (stack, dsns) = databases(SHARDS as usize).await;
    let shards = observed(&dsns);
    let pools: Vec<PgPool> = shards.iter().map(|shard| shard.pool.clone()).collect();
    let log = log(11, 3000);
    let instances: Vec<Instance> = (0..3)
        .map(|number| Instance::start(&log.interleaved(number, 5), &dsns, 2 + number as usize))
        .collect();
    let mut rng = StdRng::seed_from_u64(11);
    for turn in 1..=25 {
        for instance in &instances {
            instance.tell((0..SHARDS).filter(|_| rng.random_bool(0.5)));
        }
        // Some work is done between two moves, unless nobody was given any.
        let (before, began) = (applied(&pools).await, Instant::now());
        while applied(&pools).await <= before + 3 && began.elapsed() < Duration::from_millis(400) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if turn % 5 == 0 {
            for instance in &instances {
                instance.tell([]);
                until(async || instance.readiness.is_ready()).await;
            }
            nothing_stays_open(&pools[0]).await;
        }
    }
    assert!(
        !is_filled(&log, &shards).await,
        "the last move came in the midst of the work"
    );
    instances[0].tell([0]);
    instances[1].tell([1]);
    instances[2].tell([2]);
    until(async || is_filled(&log, &shards).await).await;
    for instance in instances {
        until(async || instance.readiness.is_ready()).await;
        instance.stop().await;
    }
    for pool in &pools {
        let failures: i64 = sqlx::query_scalar("SELECT count(*) FROM projection_failure")
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(failures, 0);
    }
    let shared = all_digests(&shards).await;
    assert_eq!(shared, rebuilt(&log, &shards).await);
    stack.shutdown().await.unwrap();
}

/// Both start on empty databases at the same moment: migrations, claims and months come once.
#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_at_one_shard_end_with_what_one_gives() {
    let (stack, dsns) = databases(1).await;
    let shards = observed(&dsns);
    let log = log(12, 1500);
    let instances = [3, 4].map(|batch| Instance::start(&log.interleaved(batch, 3), &dsns, batch as usize));
    instances.iter().for_each(|it| it.tell([0]));
    until(async || is_filled(&log, &shards).await).await;
    for instance in instances {
        until(async || instance.readiness.is_ready()).await;
        instance.stop().await;
    }
    let both = all_digests(&shards).await;
    assert_eq!(both, rebuilt(&log, &shards).await);
    stack.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_is_ready_once_it_knows_its_shards_and_needs_none() {
    let (stack, dsns) = databases(2).await;
    let shards = observed(&dsns);
    let log = log(13, 200);
    let instance = Instance::start(&log, &dsns, 100);
    until(async || instance.readiness.reasons().len() == 2).await;
    assert!(
        checkpoints(&shards.get(0).unwrap().pool).await.is_empty(),
        "nothing is begun"
    );
    instance.tell([]);
    until(async || instance.readiness.is_ready()).await;
    instance.tell([0, 1]);
    until(async || is_filled(&log, &shards).await && instance.readiness.is_ready()).await;
    // A shard that is down concerns whoever has it.
    stack.postgres().kill().await.unwrap();
    until(async || !instance.readiness.is_ready()).await;
    instance.tell([]);
    until(async || instance.readiness.is_ready()).await;
    stack.postgres().restart().await.unwrap();
    instance.stop().await;
    stack.shutdown().await.unwrap();
}
