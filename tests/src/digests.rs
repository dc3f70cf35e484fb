//! Is the read model what the log says?

use std::collections::HashMap;
use std::time::{Duration, Instant};

use event_log::identity::await_log;
use projector::Known;
use read_model::queries::Snapshot;
use read_model::{PoolSettings, Shards};
use schemas::Stream;
use tokio_util::sync::CancellationToken;

use crate::World;
use crate::people::unique;

impl World {
    /// Those of the log, by the map that it has now.
    pub async fn shards(&self) -> Shards {
        let log = await_log(&self.kafka()).await.unwrap();
        let map = log.shard_map.unwrap();
        let all = self.stack.shard_dsns();
        let of_log = &all[..usize::try_from(map.shards).unwrap()];
        let shards = Shards::connect_lazy(of_log, &PoolSettings::projecting()).unwrap();
        shards.take_map(&map);
        shards
    }

    /// Waits until every shard has applied what is in the log now.
    pub async fn projected(&self) {
        let topics = self.kafka().topics();
        let mut last: HashMap<(String, i32), i64> = HashMap::new();
        for (at, _) in &self.history().await.events {
            last.insert((topics.of(at.stream), at.partition), at.offset);
        }
        let shards = self.shards().await;
        let deadline = Instant::now() + Duration::from_secs(60);
        for shard in shards.iter() {
            let ledgers = shards.map().ledgers_of(shard.id, self.ledgers());
            let catalog = topics.of(Stream::Catalog);
            let concerns = |topic: &str, partition: i32| topic == catalog || ledgers.contains(&partition);
            loop {
                let mut shard_at = Snapshot::begin(&shard.pool).await.unwrap();
                let found = shard_at.checkpoints().await.unwrap();
                let is_behind = |((topic, partition), offset): &(&(String, i32), &i64)| {
                    let mut places = found
                        .iter()
                        .filter(|at| at.topic == *topic && at.partition == *partition);
                    concerns(topic, *partition) && !places.any(|at| at.checkpoint.next_offset > **offset)
                };
                let Some(behind) = last.iter().find(is_behind) else {
                    break;
                };
                assert!(
                    Instant::now() < deadline,
                    "shard {} does not reach {behind:?}",
                    shard.id
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Rebuilds every shard from the log and compares its digests with those of the live one.
    pub async fn rebuild_is_equal(&self) {
        self.projected().await;
        let shards = self.shards().await;
        for shard in shards.iter() {
            let name = unique("scratch").replace('-', "_");
            let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::raw_sql(create).execute(&shard.pool).await.unwrap();
            let (scratch, known) = (self.scratch(shard.id, &name), Known::from(self.identity.clone()));
            let compared = projector::compare(
                self.kafka(),
                known,
                (*shards.map()).clone(),
                &shard,
                &scratch,
                CancellationToken::new(),
            )
            .await
            .unwrap_or_else(|error| panic!("{}", error.full_text()));
            assert_eq!(
                compared.differing(),
                Vec::<i32>::new(),
                "shard {} is not what the log says",
                shard.id
            );
            assert!(!compared.rebuilt.ledgers.is_empty());
            scratch.close().await;
        }
    }

    /// Another database of the same server.
    fn scratch(&self, shard: i32, name: &str) -> sqlx::PgPool {
        use std::str::FromStr as _;
        let dsn = &self.stack.shard_dsns()[usize::try_from(shard).unwrap()];
        let database = sqlx::postgres::PgConnectOptions::from_str(dsn).unwrap();
        let own = database.get_database().unwrap().to_owned();
        let (before, after) = dsn.rsplit_once(&own).unwrap();
        PoolSettings::projecting()
            .pool(&format!("{before}{name}{after}"))
            .unwrap()
    }
}
