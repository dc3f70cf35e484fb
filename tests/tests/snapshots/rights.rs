//! Nodes that start go on from the snapshots of rights in the shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ledger::ledger_of;
use schemas::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tests::{Answer, Person, World, unique, until};

use crate::metric_of;

/// Somebody who may read, as everybody with the role may.
struct Reader {
    bob: Person,
    role: String,
    resource: String,
}

impl Reader {
    async fn make(world: &World) -> Self {
        let (bob, role, resource) = (
            world.person(&unique("bob")).await,
            unique("role"),
            unique("article"),
        );
        world.admin.define_role(&role, None).await;
        let permission = format!("{resource}.read");
        world
            .admin
            .define_permission(&permission, "read", &resource)
            .await;
        world.admin.attach(&role, &permission).await;
        Self { bob, role, resource }
    }

    async fn may_read(&self, world: &World, token: &str) -> bool {
        world
            .admin
            .check(self.bob.id, "read", &self.resource, token)
            .await
    }

    /// Until the reader's ledger was saved with what was granted to him.
    async fn saved(&self, world: &World) {
        let ledger = ledger_of(&self.bob.id.to_string(), world.ledgers());
        let before = snapshot_of(world, ledger).await;
        let is_saved = || async {
            world.admin.revoke(self.bob.id, &self.role).await;
            world.admin.grant(self.bob.id, &self.role).await;
            snapshot_of(world, ledger).await != before
        };
        until(Duration::from_secs(60), "the ledger is saved", is_saved).await;
    }
}

async fn shards(world: &World) -> Vec<PgConnection> {
    let mut shards = Vec::new();
    for dsn in world.stack.shard_dsns() {
        shards.push(dsn.parse::<PgConnectOptions>().unwrap().connect().await.unwrap());
    }
    shards
}

/// What tells one save of a ledger from another.
async fn snapshot_of(world: &World, ledger: i32) -> Option<Vec<u8>> {
    let mut found = None;
    for mut shard in shards(world).await {
        let saved = sqlx::query_scalar("SELECT seal FROM access_snapshots WHERE part = 0 AND ledger = $1")
            .bind(ledger)
            .fetch_optional(&mut shard)
            .await
            .unwrap();
        found = found.or(saved);
        shard.close().await.unwrap();
    }
    found
}

async fn started_again(world: &World) {
    for server in [world.rolecall.command(), world.rolecall.query()] {
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
}

async fn loaded(world: &World, name: &str) -> Vec<f64> {
    let mut all = Vec::new();
    for url in [world.rolecall.command_url(), world.rolecall.query_url()] {
        all.push(metric_of(world, &url, name).await);
    }
    all
}

async fn session(world: &World, of: &Person) -> Answer {
    let path = format!("/v1/users/{}/sessions", of.id);
    world
        .client
        .query("GET", &path)
        .bearer(&of.access_token)
        .send()
        .await
}

pub async fn a_start_goes_on_from_rights_that_were_saved(world: Arc<World>) {
    let (reader, idle) = (Reader::make(&world).await, Reader::make(&world).await);
    let granted = world.admin.grant(idle.bob.id, &idle.role).await;
    reader.saved(&world).await;
    idle.saved(&world).await;
    // What the snapshot has is changed behind it: a right goes, a session ends.
    let revoked = world.admin.revoke(reader.bob.id, &reader.role).await;
    let logout = format!("/v1/sessions/{}", reader.bob.session_id);
    let ended = reader
        .bob
        .command("DELETE", &logout, serde_json::Value::Null)
        .await;
    ended.expect(200);
    started_again(&world).await;
    let ledgers = loaded(&world, "access_snapshots_loaded_total").await;
    assert!(ledgers.iter().all(|count| *count >= 1.0), "{ledgers:?}");
    assert!(!reader.may_read(&world, "").await);
    assert!(!reader.may_read(&world, &revoked).await);
    assert!(idle.may_read(&world, &granted).await);
    assert_eq!(session(&world, &reader.bob).await.status, 401);
    assert_eq!(session(&world, &idle.bob).await.status, 200);
    // And on: what comes now is seen, here and by the next start.
    let granted = world.admin.grant(reader.bob.id, &reader.role).await;
    assert!(reader.may_read(&world, &granted).await);
    reader.saved(&world).await;
    started_again(&world).await;
    assert!(reader.may_read(&world, &granted).await);
}

pub async fn rights_that_were_edited_are_not_believed(world: Arc<World>) {
    let reader = Reader::make(&world).await;
    reader.saved(&world).await;
    let revoked = world.admin.revoke(reader.bob.id, &reader.role).await;
    let mut edited = 0.0;
    for mut shard in shards(&world).await {
        let outcome = sqlx::query(
            "UPDATE access_snapshots SET content = set_byte(content, 0, 255 - get_byte(content, 0)) WHERE part = 0",
        )
        .execute(&mut shard)
        .await
        .unwrap();
        edited += f64::from(u32::try_from(outcome.rows_affected()).unwrap());
        shard.close().await.unwrap();
    }
    assert!(edited > 0.0);
    // The command service first would save others; the query service alone meets the edited ones.
    world.rolecall.query().restart().await.unwrap();
    let refused = metric_of(
        &world,
        &world.rolecall.query_url(),
        "access_snapshots_refused_total",
    )
    .await;
    assert!(refused > 0.0, "{edited} were edited");
    assert!(!reader.may_read(&world, &revoked).await);
    let granted = world.admin.grant(reader.bob.id, &reader.role).await;
    assert!(reader.may_read(&world, &granted).await);
    started_again(&world).await;
    assert!(reader.may_read(&world, &granted).await);
}

pub async fn a_grant_that_ended_while_nobody_served_ends_after_the_start(world: Arc<World>) {
    let (bob, role) = (world.person("bob").await, unique("temporary"));
    world.admin.define_role(&role, None).await;
    let expires_at = Timestamp::now().plus(Duration::from_secs(4));
    let path = format!("/v1/users/{}/roles/{role}", bob.id);
    let body = serde_json::json!({ "expires_at": expires_at.to_string() });
    world.admin.command("PUT", &path, body).await.expect(200);
    // In order, so that the next start goes on from snapshots.
    world.rolecall.command().stop().await.unwrap();
    while Timestamp::now() < expires_at {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.rolecall.command().restart().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let ends = async || {
        let names = world.history().await.names_of_user(bob.id);
        names
            .iter()
            .filter(|name| **name == "user.role_grant_expired")
            .count()
    };
    while ends().await == 0 {
        assert!(Instant::now() < deadline, "no event tells of the grant's end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    world.admin.grant(bob.id, &role).await;
    assert_eq!(ends().await, 1);
    world.verify().await;
    world.rebuild_is_equal().await;
}
