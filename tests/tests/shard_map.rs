//! Shards that are not those of the log are refused with one line, and nothing is touched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use event_log::KafkaConfig;
use event_log::identity::{LogIdentity, await_log, find_log};
use local_rolecall::port_or_free;
use local_stack::{Launch, Server};
use read_model::ShardMap;
use schemas::Event;
use schemas::catalog::CatalogEvent;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tests::{History, Suite, World, scenarios, unique};

const SERVICES: [&str; 3] = ["command-service", "projector", "query-service"];

fn main() -> ExitCode {
    let scenarios = scenarios![
        the_first_start_records_where_ledgers_lie,
        services_that_start_at_once_record_one_map,
        fewer_shards_are_refused_and_more_wait_to_be_added,
        shards_in_another_order_are_refused,
        one_database_in_place_of_two_is_refused,
        a_shard_of_another_log_is_refused,
        the_log_of_one_cluster_with_the_shards_of_another_is_refused,
    ];
    Suite {
        scenarios,
        at_once: 2,
        shards: 1,
    }
    .main()
}

/// A log of its own on the stack of the world, and databases that nothing else uses.
struct Own<'a> {
    world: &'a World,
    prefix: String,
    shards: Vec<String>,
}

impl<'a> Own<'a> {
    async fn new(world: &'a World, shards: usize) -> Self {
        let prefix = unique("own");
        let mut own = Self {
            world,
            prefix,
            shards: vec![],
        };
        for _ in 0..shards {
            let database = own.database().await;
            own.shards.push(database);
        }
        own
    }

    /// With a log that a command service made; it has ended again.
    async fn filled(world: &'a World, shards: usize) -> Self {
        let own = Self::new(world, shards).await;
        own.launch(&own.shards).await.stop().await.unwrap();
        own
    }

    /// An empty one.
    async fn database(&self) -> String {
        let name = unique("shard").replace('-', "_");
        let first = self.world.stack.shard_dsns().remove(0);
        let mut connection = connect(&first).await;
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let (cluster, _) = first.rsplit_once('/').unwrap();
        format!("{cluster}/{name}")
    }

    fn environment(&self, shards: &[String]) -> Vec<(String, String)> {
        let port = port_or_free(rand::random_range(15_000..32_000)).unwrap();
        let own = [
            ("ROLECALL_TOPIC_PREFIX", self.prefix.clone()),
            ("ROLECALL_SHARDS", shards.join(",")),
            ("ROLECALL_LISTEN", format!("127.0.0.1:{port}")),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        self.world
            .rolecall
            .environment()
            .iter()
            .cloned()
            .chain(own)
            .collect()
    }

    /// A command service that is ready.
    async fn launch(&self, shards: &[String]) -> Server {
        let environment = self.environment(shards);
        let (_, address) = environment.last().unwrap();
        let log = self.world.stack.log_of(&unique(&self.prefix));
        let program = self.world.rolecall.program("command-service");
        let launch = Launch::new("command-service", program, log)
            .trusting(self.world.rolecall.certificates())
            .ready_at(self.world.rolecall.url_of(format_args!("{address}/readyz")))
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let started = Server::start(launch).await;
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The line with which a program that must not start ends.
    async fn refusal(&self, program: &str, shards: &[String]) -> String {
        let running = tokio::process::Command::new(self.world.rolecall.program(program))
            .envs(self.environment(shards))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
        let output = ended
            .unwrap_or_else(|_| panic!("{program} is not refused"))
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{program}: {text}");
        let last = text.lines().last().unwrap_or_default();
        let (named, line) = last.split_once(": ").unwrap();
        assert_eq!(named, program, "{text}");
        line.to_owned()
    }

    /// All services refuse these shards with a line that ends so; databases and log stay as they were.
    async fn all_refuse(&self, shards: &[String], expected: &str) {
        let databases = || async {
            let mut found = Vec::new();
            for dsn in self.shards.iter().chain(shards) {
                found.push(contents(dsn).await);
            }
            found
        };
        let before = (databases().await, self.history().await.records.len());
        for program in SERVICES {
            let line = self.refusal(program, shards).await;
            assert!(line.ends_with(expected), "{program}: {line}");
        }
        let after = (databases().await, self.history().await.records.len());
        assert_eq!(before, after);
    }

    fn kafka(&self) -> KafkaConfig {
        self.world.kafka_of(&self.prefix)
    }

    async fn identity(&self) -> LogIdentity {
        await_log(&self.kafka()).await.unwrap()
    }

    async fn history(&self) -> History {
        History::of(&self.kafka(), &self.identity().await).await
    }

    /// As a refusal names one of its shards.
    async fn named(&self, shard: i32) -> String {
        let created = self.identity().await.created;
        let (log_id, ledgers) = (created.log_id, created.ledgers);
        format!("shard {shard} of log {log_id} with {ledgers} ledgers")
    }
}

async fn connect(dsn: &str) -> PgConnection {
    dsn.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// Each table with all its rows.
async fn contents(dsn: &str) -> Vec<(String, String)> {
    let mut connection = connect(dsn).await;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!(
            "SELECT coalesce(string_agg(row::text, ';' ORDER BY row::text), '') FROM \"{table}\" AS row"
        ));
        let rows = sqlx::query_scalar(rows).fetch_one(&mut connection).await.unwrap();
        found.push((table, rows));
    }
    connection.close().await.unwrap();
    found
}

async fn the_first_start_records_where_ledgers_lie(world: Arc<World>) {
    let own = Own::filled(&world, 2).await;
    let log = own.identity().await;
    let expected = ShardMap::new(0..2).first_map(log.created.ledgers);
    assert_eq!(log.shard_map, Some(expected));
    for (shard, dsn) in (0..).zip(&own.shards) {
        let holds: (uuid::Uuid, i32) = sqlx::query_as("SELECT log_id, shard_id FROM projection_identity")
            .fetch_one(&mut connect(dsn).await)
            .await
            .unwrap();
        assert_eq!(holds, (log.created.log_id.as_uuid(), shard));
    }
    own.launch(&own.shards).await.stop().await.unwrap();
    assert_eq!(maps(&own).await, 1, "a further start records nothing");
}

async fn services_that_start_at_once_record_one_map(world: Arc<World>) {
    let own = Own::new(&world, 2).await;
    let (one, other) = tokio::join!(own.launch(&own.shards), own.launch(&own.shards));
    assert_eq!(maps(&own).await, 1);
    for server in [one, other] {
        server.stop().await.unwrap();
    }
}

async fn maps(own: &Own<'_>) -> usize {
    let is_map = |event: &Event| matches!(event, Event::Catalog(CatalogEvent::ShardMapChanged(_)));
    let history = own.history().await;
    let maps = history.events.iter().filter(|(_, stored)| is_map(&stored.data));
    maps.count()
}

async fn fewer_shards_are_refused_and_more_wait_to_be_added(world: Arc<World>) {
    let own = Own::filled(&world, 2).await;
    let (fewer, mut more) = (own.shards[..1].to_vec(), own.shards.clone());
    more.push(own.database().await);
    let recorded = "shard map 1 of the log has 2 shards, the configuration has 1";
    own.all_refuse(&fewer, recorded).await;
    own.launch(&more).await.stop().await.unwrap();
    assert_eq!(contents(&more[2]).await, [], "nothing lies there");
    assert_eq!(maps(&own).await, 1);
}

async fn shards_in_another_order_are_refused(world: Arc<World>) {
    let own = Own::filled(&world, 2).await;
    let swapped: Vec<String> = own.shards.iter().rev().cloned().collect();
    let (first, second) = (own.named(0).await, own.named(1).await);
    let expected = format!("this database holds {second}, not {first}");
    own.all_refuse(&swapped, &expected).await;
}

async fn one_database_in_place_of_two_is_refused(world: Arc<World>) {
    let own = Own::filled(&world, 2).await;
    let twice = vec![own.shards[0].clone(), own.shards[0].clone()];
    let expected = "shards 0 and 1 of the configuration are one database";
    own.all_refuse(&twice, expected).await;

    // Under two names, and empty: nothing in it tells.
    let empty = own.database().await;
    let (_, name) = empty.rsplit_once('/').unwrap();
    let port = world.stack.postgres_ports()[0];
    let by_tcp = format!("postgres://rolecall@127.0.0.1:{port}/{name}");
    own.all_refuse(&[empty.clone(), by_tcp.clone()], expected).await;
    let unmade = Own::new(&world, 0).await;
    let line = unmade.refusal("command-service", &[empty.clone(), by_tcp]).await;
    assert!(line.ends_with(expected), "{line}");
    assert_eq!(contents(&empty).await, []);
    assert_eq!(found(&unmade).await, None);
}

async fn a_shard_of_another_log_is_refused(world: Arc<World>) {
    let (own, other) = tokio::join!(Own::filled(&world, 2), Own::filled(&world, 2));
    let mixed = vec![own.shards[0].clone(), other.shards[1].clone()];
    let expected = format!(
        "this database holds {}, not {}",
        other.named(1).await,
        own.named(1).await
    );
    own.all_refuse(&mixed, &expected).await;
}

async fn the_log_of_one_cluster_with_the_shards_of_another_is_refused(world: Arc<World>) {
    let (own, other) = tokio::join!(Own::filled(&world, 2), Own::filled(&world, 2));
    let (log, held) = (own.identity().await.created.log_id, other.named(0).await);
    let before = (
        contents(&other.shards[0]).await,
        own.history().await.records.len(),
    );
    for program in ["projector", "query-service"] {
        let line = own.refusal(program, &other.shards).await;
        let expected = format!("this database holds {held}, not {}", own.named(0).await);
        assert!(line.ends_with(&expected), "{program}: {line}");
    }
    let held = other.identity().await.created.log_id;
    let line = own.refusal("command-service", &other.shards).await;
    let expected =
        format!("the configured shards hold log {held}, and the log under this topic prefix is {log}");
    assert!(line.ends_with(&expected), "{line}");
    assert_eq!(
        before,
        (
            contents(&other.shards[0]).await,
            own.history().await.records.len()
        )
    );

    // A cluster without any log gets none.
    let unmade = Own::new(&world, 0).await;
    let line = unmade.refusal("command-service", &other.shards).await;
    let expected =
        format!("the configured shards hold log {held}, and there is no log under this topic prefix");
    assert!(line.ends_with(&expected), "{line}");
    assert_eq!(found(&unmade).await, None);
    assert_eq!(contents(&other.shards[0]).await, before.0);
}

async fn found(own: &Own<'_>) -> Option<LogIdentity> {
    let config = own.kafka();
    let found = tokio::task::spawn_blocking(move || find_log(&config));
    found.await.unwrap().unwrap()
}
