//! Grants that count for some resources only.

use std::sync::Arc;

use schemas::UserId;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Person, World, question, unique};

async fn may(world: &World, user: UserId, resource: &str, id: &str, token: &str) -> bool {
    let mut question = question(user, "read", resource);
    question["resource"]["id"] = id.into();
    let call = world.client.query("POST", "/access/v1/evaluation");
    let answer = call
        .bearer(&world.admin.access_token)
        .at_least(token)
        .json(&question)
        .send()
        .await;
    answer.expect(200).body["decision"].as_bool().unwrap()
}

/// A role that reads articles and letters.
async fn reader(admin: &Person) -> (String, [String; 2]) {
    let (role, resources) = (unique("reader"), [unique("article"), unique("letter")]);
    admin.define_role(&role, None).await;
    for resource in &resources {
        let permission = format!("{resource}.read");
        admin.define_permission(&permission, "read", resource).await;
        admin.attach(&role, &permission).await;
    }
    (role, resources)
}

async fn grant(admin: &Person, user: UserId, role: &str, body: Value) -> Answer {
    let path = format!("/v1/users/{user}/roles/{role}");
    admin.command("PUT", &path, body).await
}

pub async fn a_grant_counts_for_what_is_within_its_scope(world: Arc<World>) {
    let admin = &world.admin;
    let (user, _) = world.register(&unique("scoped")).await;
    let (role, [article, letter]) = reader(admin).await;
    for scope in [
        json!({ "resource": article, "id": "7" }),
        json!({ "resource": article, "id_prefix": "eu/" }),
    ] {
        grant(admin, user, &role, json!({ "scope": scope }))
            .await
            .expect(200);
    }
    let token = grant(admin, user, &role, json!({ "scope": { "resource": letter } }))
        .await
        .expect(200)
        .token();
    for (resource, id, expected) in [
        (&article, "7", true),
        (&article, "70", false),
        (&article, "eu/", true),
        (&article, "eu/1/2", true),
        (&article, "e", false),
        (&article, "1", false),
        (&letter, "1", true),
        (&letter, "eu/", true),
    ] {
        assert_eq!(may(&world, user, resource, id, &token).await, expected, "{id}");
    }
    // What counts for some resources only is told as such.
    let grants = admin
        .query(&format!("/v1/users/{user}/grants"), &token)
        .await
        .expect(200);
    let scopes: Vec<_> = grants.body["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["scope"].clone())
        .collect();
    let told = json!([
        { "resource": article, "id": "7" },
        { "resource": article, "id_prefix": "eu/" },
        { "resource": letter },
    ]);
    assert_eq!(json!(scopes), told);
    let permissions = admin
        .query(&format!("/v1/users/{user}/permissions"), &token)
        .await
        .expect(200);
    assert_eq!(permissions.body["permissions"], json!([]));
    world.projected().await;
}

pub async fn each_scope_is_revoked_by_itself(world: Arc<World>) {
    let admin = &world.admin;
    let (user, _) = world.register(&unique("scoped")).await;
    let (role, [article, _]) = reader(admin).await;
    grant(admin, user, &role, Value::Null).await.expect(200);
    for id in ["1", "2"] {
        let scope = json!({ "resource": article, "id": id });
        grant(admin, user, &role, json!({ "scope": scope }))
            .await
            .expect(200);
    }
    let path = format!("/v1/users/{user}/roles/{role}");
    let revoke = async |query: &str| {
        let answer = admin
            .command("DELETE", &format!("{path}{query}"), Value::Null)
            .await;
        answer.expect(200).token()
    };
    let token = revoke("").await;
    for (id, expected) in [("1", true), ("2", true), ("3", false)] {
        assert_eq!(may(&world, user, &article, id, &token).await, expected, "{id}");
    }
    // No grant is that of a prefix.
    revoke(&format!("?resource={article}&id_prefix=1")).await;
    let token = revoke(&format!("?resource={article}&id=1")).await;
    for (id, expected) in [("1", false), ("2", true)] {
        assert_eq!(may(&world, user, &article, id, &token).await, expected, "{id}");
    }
    let told = world.history().await.names_of_user(user);
    let revoked = told.iter().filter(|name| **name == "user.role_revoked");
    assert_eq!(revoked.count(), 2);
}

pub async fn a_scope_that_names_nothing_is_refused(world: Arc<World>) {
    let admin = &world.admin;
    let (user, _) = world.register(&unique("scoped")).await;
    let (role, [article, _]) = reader(admin).await;
    for scope in [
        json!({}),
        json!({ "id": "1" }),
        json!({ "resource": "" }),
        json!({ "resource": article, "id": "" }),
        json!({ "resource": article, "id_prefix": "" }),
        json!({ "resource": article, "id": "1", "id_prefix": "1" }),
        json!({ "resource": article, "id": "a\u{0}b" }),
        json!({ "resource": article, "id": "x".repeat(257) }),
        json!({ "resource": article, "ids": ["1"] }),
        json!("document"),
    ] {
        grant(admin, user, &role, json!({ "scope": scope }))
            .await
            .refused(P::InvalidBody);
    }
    let path = format!("/v1/users/{user}/roles/{role}");
    for query in [
        "?id=1".to_owned(),
        "?id_prefix=1".to_owned(),
        format!("?resource={article}&id=1&id_prefix=1"),
        "?scope=1".to_owned(),
    ] {
        admin
            .command("DELETE", &format!("{path}{query}"), Value::Null)
            .await
            .refused(P::InvalidParameter);
    }
    assert_eq!(world.history().await.names_of_user(user), ["user.registered"]);
}
