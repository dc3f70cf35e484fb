//! May somebody do something?

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::Timestamp;
use serde_json::{Value, json};
use tests::{World, question, unique};

/// A child role below a parent that has one permission: names of child, parent and resource.
async fn hierarchy(world: &World) -> (String, String, String) {
    let admin = &world.admin;
    let (parent, child, resource) = (unique("staff"), unique("manager"), unique("invoice"));
    admin.define_role(&parent, None).await;
    admin.define_role(&child, Some(&parent)).await;
    let permission = format!("{resource}.read");
    admin.define_permission(&permission, "read", &resource).await;
    admin.attach(&parent, &permission).await;
    (child, parent, resource)
}

pub async fn a_grant_allows_and_its_revocation_denies(world: Arc<World>) {
    let (child, _, resource) = hierarchy(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    assert!(!admin.check(bob.id, "read", &resource, &bob.token).await);
    for _ in 0..3 {
        let granted = admin.grant(bob.id, &child).await;
        let answer = admin.ask(bob.id, "read", &resource, &granted).await.expect(200);
        assert_eq!(answer.body["decision"], true);
        assert_eq!(answer.body["context"]["reason"], "granted");
        assert!(admin.check(bob.id, "read", &resource, "latest").await);
        assert!(bob.check(bob.id, "read", &resource, &granted).await);
        assert!(!admin.check(bob.id, "write", &resource, &granted).await);
        assert!(!admin.check(bob.id, "read", "something-else", &granted).await);

        let revoked = admin.revoke(bob.id, &child).await;
        let answer = admin.ask(bob.id, "read", &resource, &revoked).await.expect(200);
        assert_eq!(
            answer.body,
            json!({ "decision": false, "context": { "reason": "no_grant" } })
        );
        assert!(!admin.check(bob.id, "read", &resource, "latest").await);
    }
}

pub async fn latest_after_a_revocation_denies_every_time(world: Arc<World>) {
    let (child, _, resource) = hierarchy(&world).await;
    let bob = world.person("bob").await;
    for _ in 0..100 {
        world.admin.grant(bob.id, &child).await;
        assert!(world.admin.check(bob.id, "read", &resource, "latest").await);
        world.admin.revoke(bob.id, &child).await;
        assert!(!world.admin.check(bob.id, "read", &resource, "latest").await);
    }
}

pub async fn a_grant_ends_by_the_clock(world: Arc<World>) {
    let (child, _, resource) = hierarchy(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let expiry = Timestamp::now().plus(Duration::from_millis(1_500));
    let path = format!("/v1/users/{}/roles/{child}", bob.id);
    let granted = admin
        .command("PUT", &path, json!({ "expires_at": expiry.to_string() }))
        .await
        .expect(200)
        .token();
    let mut allowed = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    let denied = loop {
        let before = Timestamp::now();
        let answer = admin.ask(bob.id, "read", &resource, &granted).await.expect(200);
        if answer.body["decision"] == false {
            break answer;
        }
        assert!(before < expiry, "allowed after its expiry");
        assert!(Instant::now() < deadline, "the grant does not end");
        allowed += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(Timestamp::now() >= expiry, "denied before its expiry");
    assert!(allowed > 0);
    // Once an event tells of its end, there is no grant any more.
    let reason = denied.body["context"]["reason"].as_str().unwrap();
    assert!(["expired_grant", "no_grant"].contains(&reason), "{reason}");
    let roles = admin
        .query(&format!("/v1/users/{}/roles", bob.id), &granted)
        .await
        .expect(200);
    let mut roles = roles.body["roles"].as_array().unwrap().iter();
    assert!(roles.all(|it| it["expired"] == true));
    // Granted again for good, it counts again.
    let again = admin.grant(bob.id, &child).await;
    assert!(admin.check(bob.id, "read", &resource, &again).await);
}

pub async fn several_questions_at_once(world: Arc<World>) {
    let (child, _, resource) = hierarchy(&world).await;
    let (admin, bob, eve) = (&world.admin, world.person("bob").await, world.person("eve").await);
    let granted = admin.grant(bob.id, &child).await;
    let mut body = question(bob.id, "read", &resource);
    body["evaluations"] = json!([
        {},
        { "action": { "name": "write" } },
        { "subject": { "type": "user", "id": eve.id } },
        { "resource": { "type": resource, "id": "other" } },
        { "subject": { "type": "user" } },
    ]);
    let ask = world
        .client
        .query("POST", "/access/v1/evaluations")
        .bearer(&admin.access_token);
    let answer = ask
        .at_least(&format!("{granted},{}", eve.token))
        .json(&body)
        .send()
        .await
        .expect(200);
    let evaluations = answer.body["evaluations"].as_array().unwrap();
    let decisions: Vec<&Value> = evaluations.iter().map(|it| &it["decision"]).collect();
    assert_eq!(decisions, [true, false, false, true, false]);
    assert_eq!(evaluations[4]["context"]["error"]["status"], 400);
}

pub async fn a_deactivated_user_may_nothing(world: Arc<World>) {
    let (child, _, resource) = hierarchy(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    admin.grant(bob.id, &child).await;
    let path = |what: &str| format!("/v1/users/{}/{what}", bob.id);
    let token = admin
        .command("POST", &path("deactivate"), Value::Null)
        .await
        .expect(200)
        .token();
    let answer = admin.ask(bob.id, "read", &resource, &token).await.expect(200);
    assert_eq!(
        answer.body,
        json!({ "decision": false, "context": { "reason": "inactive_user" } })
    );
    let roles = admin.query(&path("roles"), &token).await.expect(200);
    assert_eq!(roles.body["active"], false);
    let token = admin
        .command("POST", &path("reactivate"), Value::Null)
        .await
        .expect(200)
        .token();
    assert!(admin.check(bob.id, "read", &resource, &token).await);
}

pub async fn grants_of_a_deleted_role_never_revive(world: Arc<World>) {
    let (child, parent, resource) = hierarchy(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let granted = admin.grant(bob.id, &child).await;
    assert!(admin.check(bob.id, "read", &resource, &granted).await);
    let deleted = admin
        .command("DELETE", &format!("/v1/roles/{child}"), Value::Null)
        .await
        .expect(200)
        .token();
    assert!(!admin.check(bob.id, "read", &resource, &deleted).await);
    let defined = admin.define_role(&child, Some(&parent)).await;
    assert!(!admin.check(bob.id, "read", &resource, &defined).await);
    let roles = admin
        .query(&format!("/v1/users/{}/roles", bob.id), &defined)
        .await
        .expect(200);
    assert_eq!(roles.body["roles"], json!([]));
    let permissions = admin
        .query(&format!("/v1/users/{}/permissions", bob.id), &defined)
        .await
        .expect(200);
    assert_eq!(permissions.body["permissions"], json!([]));
    let granted = admin.grant(bob.id, &child).await;
    assert!(admin.check(bob.id, "read", &resource, &granted).await);
}

pub async fn rights_follow_the_hierarchy_as_it_changes(world: Arc<World>) {
    let (child, parent, resource) = hierarchy(&world).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    admin.grant(bob.id, &child).await;
    let may = async |token: &str| admin.check(bob.id, "read", &resource, token).await;
    let path = format!("/v1/roles/{parent}/permissions/{resource}.read");
    let detached = admin
        .command("DELETE", &path, Value::Null)
        .await
        .expect(200)
        .token();
    assert!(!may(&detached).await);
    let attached = admin.command("PUT", &path, Value::Null).await.expect(200).token();
    assert!(may(&attached).await);
    let orphaned = admin.define_role(&child, None).await;
    assert!(!may(&orphaned).await);
    let adopted = admin.define_role(&child, Some(&parent)).await;
    assert!(may(&adopted).await);
    let path = format!("/v1/permissions/{resource}.read");
    let deleted = admin
        .command("DELETE", &path, Value::Null)
        .await
        .expect(200)
        .token();
    assert!(!may(&deleted).await);
}
