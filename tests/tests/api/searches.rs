//! Who may do what: the searches of AuthZEN.

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Person, World, question, unique};

/// A child role below a parent that may read a resource: names of child and resource.
async fn readers(admin: &Person) -> (String, String) {
    let (parent, child, resource) = (unique("staff"), unique("manager"), unique("invoice"));
    admin.define_role(&parent, None).await;
    admin.define_role(&child, Some(&parent)).await;
    let permission = format!("{resource}.read");
    admin.define_permission(&permission, "read", &resource).await;
    admin.attach(&parent, &permission).await;
    (child, resource)
}

async fn search(world: &World, caller: &Person, kind: &str, body: &Value, token: &str) -> Answer {
    let path = format!("/access/v1/search/{kind}");
    let call = world
        .client
        .query("POST", &path)
        .bearer(&caller.access_token)
        .json(body);
    if token.is_empty() {
        call.send().await
    } else {
        call.at_least(token).send().await
    }
}

/// Of all pages, which are asked for with nothing but their tokens.
async fn everybody(world: &World, body: &Value, limit: usize, token: &str) -> Vec<String> {
    let mut body = body.clone();
    body["page"] = json!({ "limit": limit });
    let mut ids = Vec::new();
    loop {
        let answer = search(world, &world.admin, "subject", &body, token)
            .await
            .expect(200);
        let results = answer.body["results"].as_array().unwrap();
        assert!(results.len() <= limit);
        assert!(results.iter().all(|it| it["type"] == "user"));
        ids.extend(results.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        match answer.body["page"]["next_token"].as_str().unwrap() {
            "" => return ids,
            next => body["page"] = json!({ "token": next }),
        }
    }
}

/// Of two shards. Nobody waits for a row: each grant is found at once, with its token and without.
pub async fn whoever_may_is_found_as_soon_as_they_may(world: Arc<World>) {
    let admin = &world.admin;
    let (role, resource) = readers(admin).await;
    let mut body = question(admin.id, "read", &resource);
    // Whoever is named is ignored.
    body["subject"]["id"] = json!("nobody");
    assert!(everybody(&world, &body, 10, "latest").await.is_empty());
    let mut expected = Vec::new();
    for number in 0..5 {
        let person = world.person(&format!("reader-{number}")).await;
        let granted = admin.grant(person.id, &role).await;
        expected.push(person.id.to_string());
        expected.sort();
        assert_eq!(everybody(&world, &body, 10, &granted).await, expected);
        // The node has seen the grant, so its rows are waited for.
        assert!(admin.check(person.id, "read", &resource, &granted).await);
        assert_eq!(everybody(&world, &body, 10, "").await, expected);
    }
    for limit in [1, 2, 5] {
        assert_eq!(everybody(&world, &body, limit, "latest").await, expected);
    }
    let leaver = expected.remove(2);
    let revoked = admin.revoke(leaver.parse().unwrap(), &role).await;
    assert_eq!(everybody(&world, &body, 2, &revoked).await, expected);
    let leaver = expected.remove(0);
    let path = format!("/v1/users/{leaver}/deactivate");
    let deactivated = admin
        .command("POST", &path, Value::Null)
        .await
        .expect(200)
        .token();
    assert_eq!(everybody(&world, &body, 2, &deactivated).await, expected);
    body["action"]["name"] = json!("write");
    assert!(everybody(&world, &body, 2, "latest").await.is_empty());
}

pub async fn people_ask_what_they_may_do_themselves(world: Arc<World>) {
    let (admin, person) = (&world.admin, world.person("asking").await);
    let (role, resource) = readers(admin).await;
    let write = format!("{resource}.write");
    admin.define_permission(&write, "write", &resource).await;
    let granted = admin.grant(person.id, &role).await;
    let body = question(person.id, "read", &resource);
    let answer = search(&world, &person, "action", &body, &granted)
        .await
        .expect(200);
    assert_eq!(
        answer.body,
        json!({ "page": { "next_token": "", "count": 1, "total": 1 }, "results": [{ "name": "read" }] })
    );
    let answer = search(&world, &person, "resource", &body, &granted)
        .await
        .expect(200);
    assert_eq!(
        answer.body,
        json!({ "page": { "next_token": "", "count": 0 }, "context": { "all": true }, "results": [] })
    );
    let attached = admin.attach(&role, &write).await;
    let answer = search(&world, &person, "action", &body, &attached)
        .await
        .expect(200);
    assert_eq!(
        answer.body["results"],
        json!([{ "name": "read" }, { "name": "write" }])
    );
    let of_admin = question(admin.id, "read", &resource);
    for kind in ["subject", "resource", "action"] {
        let answer = search(&world, &person, kind, &of_admin, "").await;
        assert_eq!(answer.status, P::Forbidden.status().as_u16(), "{kind}");
    }
}

/// A token is of one search, and of one whole request.
pub async fn the_token_of_a_page_fits_its_own_search_only(world: Arc<World>) {
    let admin = &world.admin;
    let (role, resource) = readers(admin).await;
    let mut granted = String::new();
    for _ in 0..2 {
        let person = world.person("reader").await;
        granted = admin.grant(person.id, &role).await;
    }
    let mut body = question(admin.id, "read", &resource);
    body["page"] = json!({ "limit": 1 });
    let answer = search(&world, admin, "subject", &body, &granted)
        .await
        .expect(200);
    let next = answer.body["page"]["next_token"].as_str().unwrap().to_owned();
    assert!(!next.is_empty());
    body["page"] = json!({ "token": next });
    for (kind, changed) in [
        ("action", body.clone()),
        ("resource", body.clone()),
        ("subject", {
            let mut changed = body.clone();
            changed["resource"]["id"] = json!("2");
            changed
        }),
        ("subject", {
            let mut changed = body.clone();
            changed["page"]["limit"] = json!(2);
            changed
        }),
    ] {
        search(&world, admin, kind, &changed, "").await.expect(400);
    }
    let answer = search(&world, admin, "subject", &body, &granted)
        .await
        .expect(200);
    assert_eq!(answer.body["page"], json!({ "next_token": "", "count": 1 }));
}
