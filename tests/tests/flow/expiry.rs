//! Grants that end by themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::user::{RoleGrantExpired, UserEvent};
use schemas::{Event, Timestamp, UserId};
use serde_json::{Value, json};
use tests::{World, unique};

/// Grants a role until a moment from now.
async fn grant_until(world: &World, user: UserId, role: &str, expires_at: Timestamp) -> String {
    let path = format!("/v1/users/{user}/roles/{role}");
    let body = json!({ "expires_at": expires_at.to_string() });
    world.admin.command("PUT", &path, body).await.expect(200).token()
}

fn soon() -> Timestamp {
    Timestamp::now().plus(Duration::from_millis(1_200))
}

/// The ends of grants that the log tells of this user: when each was written, and what it says.
async fn ends_of(world: &World, user: UserId) -> Vec<(Timestamp, RoleGrantExpired)> {
    let id = user.to_string();
    let history = world.history().await;
    let of_user = history
        .events
        .into_iter()
        .filter(|(_, stored)| stored.meta.aggregate_id == id);
    of_user
        .filter_map(|(_, stored)| match stored.data {
            Event::User(UserEvent::RoleGrantExpired(event)) => Some((stored.meta.occurred_at, event)),
            _ => None,
        })
        .collect()
}

async fn until_ended(world: &World, user: UserId) -> Vec<(Timestamp, RoleGrantExpired)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ends = ends_of(world, user).await;
        if !ends.is_empty() {
            return ends;
        }
        assert!(Instant::now() < deadline, "no event tells of the grant's end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub async fn the_end_of_a_grant_becomes_one_event(world: Arc<World>) {
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let (role, expires_at) = (unique("temporary"), soon());
    admin.define_role(&role, None).await;
    let granted = grant_until(&world, bob.id, &role, expires_at).await;
    let grants = format!("/v1/users/{}/grants", bob.id);
    let before = admin.query(&grants, &granted).await.expect(200);
    assert_eq!(before.body["grants"][0]["granted_by"], json!(admin.id));
    assert_eq!(before.body["grants"][0]["role"], json!(role));

    let ends = until_ended(&world, bob.id).await;
    assert!(
        ends.iter()
            .all(|(at, event)| *at >= expires_at && event.expires_at == expires_at)
    );
    // What follows from it: no row is active, and the audit log tells it.
    let after = admin.query(&grants, "latest").await.expect(200);
    assert_eq!(after.body["grants"], json!([]));
    let roles = format!("/v1/users/{}/roles", bob.id);
    let roles = admin.query(&roles, "latest").await.expect(200);
    assert_eq!(roles.body["roles"], json!([]));
    let audit = format!("/v1/users/{}/audit?limit=1", bob.id);
    let audit = admin.query(&audit, "latest").await.expect(200);
    assert_eq!(audit.body["events"][0]["type"], "user.role_grant_expired");
    assert_eq!(audit.body["events"][0]["actor"], "system");
    // Granted again for good it stays, and the end is told once.
    let again = admin.grant(bob.id, &role).await;
    let stays = admin.query(&grants, &again).await.expect(200);
    assert_eq!(stays.body["grants"][0]["expires_at"], Value::Null);
    assert_eq!(ends_of(&world, bob.id).await.len(), 1);
}

pub async fn a_renewed_or_revoked_grant_does_not_end(world: Arc<World>) {
    let admin = &world.admin;
    let (renewed, revoked) = (world.person("renewed").await, world.person("revoked").await);
    let (role, expires_at) = (unique("temporary"), soon());
    admin.define_role(&role, None).await;
    for user in [renewed.id, revoked.id] {
        grant_until(&world, user, &role, expires_at).await;
    }
    let later = expires_at.plus(Duration::from_secs(3_600));
    grant_until(&world, renewed.id, &role, later).await;
    admin.revoke(revoked.id, &role).await;
    // One of the same ledger each that ends later shows that their time was looked at.
    for user in [renewed.id, revoked.id] {
        let other = unique("marker");
        admin.define_role(&other, None).await;
        grant_until(&world, user, &other, soon()).await;
        let ends = until_ended(&world, user).await;
        assert!(ends.iter().all(|(_, event)| event.expires_at > expires_at));
    }
}

pub async fn many_grants_that_end_at_once_all_end(world: Arc<World>) {
    let bob = world.person("bob").await;
    let mut roles = Vec::new();
    for _ in 0..12 {
        let role = unique("temporary");
        world.admin.define_role(&role, None).await;
        roles.push(role);
    }
    let expires_at = Timestamp::now().plus(Duration::from_secs(3));
    for role in &roles {
        grant_until(&world, bob.id, role, expires_at).await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while ends_of(&world, bob.id).await.len() < roles.len() {
        assert!(Instant::now() < deadline, "some grants do not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(ends_of(&world, bob.id).await.len(), roles.len());
}
