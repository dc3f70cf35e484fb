//! Rows are read at a replica where it has come far enough, and at the primary where it has not: a replica that lags,
//! sleeps or is dead never makes an answer wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::ledger::ledger_of;
use event_log::identity::await_log;
use local_rolecall::LocalRolecall;
use local_stack::{Replica, Stack};
use read_model::PoolSettings;
use sqlx::PgPool;
use tests::{Person, Suite, World, scenarios, unique, until};

const SHARDS: usize = 2;
const LONG: Duration = Duration::from_secs(60);

/// It ends with the program, after the stack: nothing asks it any more then.
static REPLICA: OnceLock<Replica> = OnceLock::new();

fn main() -> ExitCode {
    let scenarios = scenarios![
        a_replica_that_has_come_far_enough_answers,
        a_replica_that_does_not_replay_is_not_read,
        a_replica_that_does_not_know_of_a_move_is_not_read,
        a_dead_replica_is_passed_over,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: SHARDS,
    }
    .main_on(world())
}

async fn world() -> World {
    let stack = Stack::builder().shards(SHARDS).tls(true).start().await;
    let stack = stack.unwrap_or_else(|error| panic!("{error}"));
    let replica = stack.replicate(0).await.unwrap_or_else(|error| panic!("{error}"));
    let primaries = stack.service_dsns().into_iter().enumerate();
    let lines: Vec<_> = primaries
        .map(|(shard, primary)| format!("{primary} {}", replica.service_dsn(shard)))
        .collect();
    assert!(REPLICA.set(replica).is_ok());
    let builder = LocalRolecall::builder().env("ROLECALL_SHARDS", lines.join(","));
    World::on(stack, builder).await
}

fn replica(shard: usize) -> PgPool {
    let dsn = REPLICA.get().unwrap().dsn(shard);
    PoolSettings::operating().pool(&dsn).unwrap()
}

async fn pause_replay() {
    let pool = replica(0);
    sqlx::query("SELECT pg_wal_replay_pause()")
        .execute(&pool)
        .await
        .unwrap();
    until(LONG, "the pause", || async {
        let state: String = sqlx::query_scalar("SELECT pg_get_wal_replay_pause_state()")
            .fetch_one(&pool)
            .await
            .unwrap();
        state == "paused"
    })
    .await;
}

async fn resume_replay() {
    let resume = sqlx::query("SELECT pg_wal_replay_resume()");
    resume.execute(&replica(0)).await.unwrap();
}

/// How many reads each kind of server has answered.
async fn answered_by(world: &World, server: &str) -> u64 {
    let metrics = world
        .client
        .query("GET", "/metrics")
        .send()
        .await
        .expect(200)
        .text;
    let name = format!("shard_reads_total{{server=\"{server}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

/// The audit trail of somebody tells so many grants, by whatever server.
async fn tells(world: &World, bob: &Person, grants: usize, token: &str) -> bool {
    let path = format!("/v1/users/{}/audit?limit=500", bob.id);
    let answer = world.admin.query(&path, token).await.expect(200);
    let events = answer.body["events"].as_array().unwrap();
    events
        .iter()
        .filter(|event| event["type"] == "user.role_granted")
        .count()
        == grants
}

/// Somebody with a role that is granted once, and known to the replica.
async fn granted(world: &World) -> (Person, String) {
    let (bob, role) = (world.person("bob").await, unique("role"));
    world.admin.define_role(&role, None).await;
    let token = world.admin.grant(bob.id, &role).await;
    until(LONG, "the replica", || async {
        let before = answered_by(world, "replica").await;
        assert!(tells(world, &bob, 1, &token).await);
        answered_by(world, "replica").await > before
    })
    .await;
    (bob, role)
}

async fn a_replica_that_has_come_far_enough_answers(world: Arc<World>) {
    let (bob, role) = granted(&world).await;
    for grants in 2..20 {
        world.admin.revoke(bob.id, &role).await;
        let token = world.admin.grant(bob.id, &role).await;
        assert!(tells(&world, &bob, grants, &token).await);
    }
    println!(
        "        {} reads at the replica, {} at the primary",
        answered_by(&world, "replica").await,
        answered_by(&world, "primary").await
    );
}

async fn a_replica_that_does_not_replay_is_not_read(world: Arc<World>) {
    let (bob, role) = granted(&world).await;
    pause_replay().await;
    world.admin.revoke(bob.id, &role).await;
    let token = world.admin.grant(bob.id, &role).await;
    for demanded in [&token, "latest"] {
        let primary = answered_by(&world, "primary").await;
        assert!(tells(&world, &bob, 2, demanded).await);
        assert_eq!(answered_by(&world, "primary").await, primary + 1);
    }
    // Who demands nothing does not get what is long gone either.
    until(Duration::from_secs(10), "the new grant", || {
        tells(&world, &bob, 2, "")
    })
    .await;
    for _ in 0..10 {
        assert!(tells(&world, &bob, 2, "").await);
    }
    resume_replay().await;
    until(LONG, "the replica", || async {
        let before = answered_by(&world, "replica").await;
        assert!(tells(&world, &bob, 2, &token).await);
        answered_by(&world, "replica").await > before
    })
    .await;
}

async fn a_replica_that_does_not_know_of_a_move_is_not_read(world: Arc<World>) {
    let (bob, role) = granted(&world).await;
    let map = await_log(&world.kafka()).await.unwrap().shard_map.unwrap();
    let ledger = ledger_of(&bob.id.to_string(), world.ledgers());
    let to = 1 - map.placement[usize::try_from(ledger).unwrap()];
    pause_replay().await;
    let (ledger, to) = (ledger.to_string(), to.to_string());
    let (code, text) = world
        .run("rolecall-shards", &["move", &ledger, "--to", &to, "--grace", "1"])
        .await;
    assert_eq!(code, 0, "{text}");
    let replica_reads = answered_by(&world, "replica").await;
    world.admin.revoke(bob.id, &role).await;
    let token = world.admin.grant(bob.id, &role).await;
    for demanded in [&token, "latest", ""] {
        assert!(tells(&world, &bob, 2, demanded).await, "demanding {demanded:?}");
    }
    // It has no copy there that it could show.
    assert_eq!(answered_by(&world, "replica").await, replica_reads);
    resume_replay().await;
    until(LONG, "the replica", || async {
        let before = answered_by(&world, "replica").await;
        assert!(tells(&world, &bob, 2, &token).await);
        answered_by(&world, "replica").await > before
    })
    .await;
    world.rebuild_is_equal().await;
}

async fn a_dead_replica_is_passed_over(world: Arc<World>) {
    let (bob, role) = granted(&world).await;
    let server = REPLICA.get().unwrap().server();
    server.kill().await.unwrap();
    for grants in 2..10 {
        world.admin.revoke(bob.id, &role).await;
        let token = world.admin.grant(bob.id, &role).await;
        assert!(tells(&world, &bob, grants, &token).await);
    }
    server.restart().await.unwrap();
    until(LONG, "the replica", || async {
        let before = answered_by(&world, "replica").await;
        assert!(tells(&world, &bob, 9, "latest").await);
        answered_by(&world, "replica").await > before
    })
    .await;
}
