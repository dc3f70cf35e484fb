//! How fast a replay is, from memory: the projector and PostgreSQL alone. Ignored by default:
//! `cargo test --release -p projector --test throughput -- --ignored --nocapture`.

mod common;

use std::time::Instant;

use common::history::{History, Mix};
use common::{VecLog, databases};
use projector::Projection;
use read_model::{PoolSettings, Shards};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn replay() {
    let mix = Mix {
        users: 20_000,
        events: 300_000,
        catalog_every: 30_000,
    };
    let log = History::new(1, 16).generate(mix).build(1, 1000);
    for (shards, connections) in [(1, 2), (1, 4), (16, 1)] {
        let (stack, dsns) = databases(shards).await;
        let settings = PoolSettings {
            max_connections: connections,
            ..PoolSettings::projecting()
        };
        let shards = Shards::connect_lazy(&dsns, &settings).unwrap();
        let mut projection = Projection::new(
            log.clone(),
            VecLog::known(16),
            &shards,
            service_kit::Readiness::default(),
        );
        projection.stop_at = Some(log.ends());
        let started = Instant::now();
        let endings = projection.run(CancellationToken::new()).await.unwrap();
        let took = started.elapsed();
        assert!(
            endings
                .iter()
                .all(|(_, _, ended)| *ended == projector::Ended::Finished),
            "{endings:?}"
        );
        println!(
            "{} shard(s), {connections} connection(s): {} events in {took:?}, {:.0}/s",
            dsns.len(),
            log.events(),
            log.events() as f64 / took.as_secs_f64()
        );
        stack.shutdown().await.unwrap();
    }
}
