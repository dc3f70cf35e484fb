//! Services that start go on from the snapshots in the shards: owners from those of aggregates, nodes from those of
//! rights.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "snapshots/rights.rs"]
mod rights;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tests::{Load, PASSWORD, Person, Suite, World, scenarios, unique};

fn main() -> ExitCode {
    let scenarios = scenarios![
        a_start_reads_only_what_the_snapshots_lack,
        without_databases_cold_users_are_read_from_the_log,
        a_database_that_was_edited_is_not_believed,
        rights::a_start_goes_on_from_rights_that_were_saved,
        rights::rights_that_were_edited_are_not_believed,
        rights::a_grant_that_ended_while_nobody_served_ends_after_the_start,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 4,
    }
    .main()
}

/// A counter or gauge of the command service, all labels together.
async fn metric(world: &World, name: &str) -> f64 {
    metric_of(world, &world.rolecall.command_url(), name).await
}

/// As [`metric`], of the service at `root`.
async fn metric_of(world: &World, root: &str, name: &str) -> f64 {
    let text = world.metrics(root).await.unwrap();
    let lines = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// How far the snapshots reach, all partitions together.
async fn saved_to(world: &World) -> i64 {
    let mut sum = 0;
    for dsn in world.stack.shard_dsns() {
        let mut shard = dsn.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
        let saved: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(next_offset), 0)::bigint FROM snapshot_positions")
                .fetch_one(&mut shard)
                .await
                .unwrap();
        sum += saved;
        shard.close().await.unwrap();
    }
    sum
}

async fn records(world: &World) -> usize {
    world.history().await.events.len()
}

/// Until everything in the log is in the snapshots: nothing is marked, and positions move no more.
async fn all_saved(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = -1;
    loop {
        let saved = saved_to(world).await;
        if saved == before && metric(world, "snapshot_dirty_aggregates").await == 0.0 {
            return;
        }
        before = saved;
        assert!(Instant::now() < deadline, "it is not saved in time");
        // Longer than from one save to the next.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

async fn a_start_reads_only_what_the_snapshots_lack(world: Arc<World>) {
    let bob = world.person("bob").await;
    let load = Load::start(&world, 4).await;
    load.more(200).await;
    load.reckon().await;
    let all = records(&world).await;
    // Stopped in order: all of it is saved.
    world.rolecall.command().stop().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    let replayed = metric(&world, "ledger_replayed_events_total").await;
    assert!(replayed < 10.0, "{replayed} of {all} events replayed");
    // Killed: what the last save lacks is read.
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    all_saved(&world).await;
    assert!(metric(&world, "snapshot_stored_aggregates").await > 0.0);
    let granted = world.admin.grant(bob.id, &role).await;
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    let replayed = metric(&world, "ledger_replayed_events_total").await;
    assert!(replayed < 30.0, "{replayed} of {all} events replayed");
    // What was there is there: the session, the password, the name that is taken, the grant.
    let again = Person::log_in(&world.client, &bob.name, PASSWORD).await;
    assert_eq!(again.id, bob.id);
    assert_ne!(world.admin.revoke(bob.id, &role).await, granted);
    let taken = world
        .client
        .command("POST", "/v1/users")
        .json(&tests::registration(&bob.name));
    assert_eq!(taken.send().await.status, 409);
    world.verify().await;
    world.rebuild_is_equal().await;
}

async fn without_databases_cold_users_are_read_from_the_log(world: Arc<World>) {
    let (bob, eve) = (world.person("bob").await, world.person("eve").await);
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    all_saved(&world).await;
    // Nobody is in memory after a start from snapshots.
    world.rolecall.command().stop().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    world.stack.postgres().stop().await.unwrap();
    world.admin.grant(bob.id, &role).await;
    Person::log_in(&world.client, &eve.name, PASSWORD).await;
    assert!(metric(&world, "snapshot_log_reads_total").await > 0.0);
    // Started without them, the whole log is read.
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    world.admin.revoke(bob.id, &role).await;
    world.stack.postgres().restart().await.unwrap();
    all_saved(&world).await;
    world.rolecall.command().stop().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    let replayed = metric(&world, "ledger_replayed_events_total").await;
    assert!(replayed < 10.0, "{replayed} events replayed");
    world.admin.grant(bob.id, &role).await;
    world.verify().await;
    world.rebuild_is_equal().await;
}

async fn a_database_that_was_edited_is_not_believed(world: Arc<World>) {
    let bob = world.person("bob").await;
    all_saved(&world).await;
    world.rolecall.command().stop().await.unwrap();
    for dsn in world.stack.shard_dsns() {
        let mut shard = dsn.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
        // Somebody gives himself another's password.
        sqlx::query(
            "UPDATE aggregate_snapshots SET state = (SELECT max(state::text)::bytea FROM aggregate_snapshots
             WHERE stream = 'users') WHERE aggregate_id = $1",
        )
        .bind(bob.id.to_string())
        .execute(&mut shard)
        .await
        .unwrap();
        shard.close().await.unwrap();
    }
    world.rolecall.command().restart().await.unwrap();
    let again = Person::log_in(&world.client, &bob.name, PASSWORD).await;
    assert_eq!(again.id, bob.id);
    assert_eq!(metric(&world, "snapshot_rows_refused_total").await, 1.0);
    world.verify().await;
}
