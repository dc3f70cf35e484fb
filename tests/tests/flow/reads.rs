//! What the query service reads from its shards, and `replay` from the log.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{PASSWORD, Person, World, unique};

pub async fn what_is_stored_of_a_person_is_read_back(world: Arc<World>) {
    let admin = &world.admin;
    let name = unique("Grace.Hopper");
    let mut body = tests::registration(&name);
    body["phone_number"] = json!("+49 30 123456");
    let id = world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .expect(201)
        .body["user_id"]
        .clone();
    let grace = Person::log_in(&world.client, &name, PASSWORD).await;
    let second = Person::log_in(&world.client, &name, PASSWORD).await;
    let role = unique("role");
    admin.define_role(&role, None).await;
    let granted = admin.grant(grace.id, &role).await;
    let end = world
        .client
        .command("DELETE", &format!("/v1/sessions/{}", second.session_id));
    let end = end
        .bearer(&grace.access_token)
        .at_least(&format!("{granted},{}", second.token));
    let token = end.send().await.expect(200).token();

    let path = |what: &str| format!("/v1/users/{}{what}", grace.id);
    let user = admin.query(&path(""), &token).await.expect(200);
    let expected = [
        ("id", id),
        ("username", json!(name)),
        ("email", json!(format!("{name}@example.org"))),
        ("phone_number", json!("+49 30 123456")),
        ("active", json!(true)),
        ("erased", json!(false)),
        ("failed_login_attempts", json!(0)),
        ("locked_until", Value::Null),
    ];
    for (field, value) in expected {
        assert_eq!(user.body[field], value, "{field} in {}", user.text);
    }
    assert!(user.body["last_login_at"].is_string());
    assert!(!user.text.contains("argon2"));

    let roles = admin.query(&path("/roles"), &token).await.expect(200);
    assert_eq!(roles.body["roles"][0]["name"], json!(role));
    let sessions = grace.query(&path("/sessions"), &token).await.expect(200);
    let of = |id: &str| {
        let mut sessions = sessions.body["sessions"].as_array().unwrap().iter();
        sessions.find(|it| it["id"] == id).unwrap().clone()
    };
    let (first, ended) = (of(&grace.session_id), of(&second.session_id));
    assert_eq!(
        (&first["live"], &first["current"], &first["revoked_at"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert_eq!(
        (&ended["live"], &ended["current"]),
        (&json!(false), &json!(false))
    );
    assert!(ended["revoked_at"].is_string() && ended["revoked_reason"].is_string());
    assert_eq!(first["ip_address"], "127.0.0.1");
}

pub async fn the_audit_log_tells_all_in_pages(world: Arc<World>) {
    let eve = world.person("eve").await;
    let body = json!({ "username": eve.name, "password": "a wrong one" });
    world
        .client
        .command("POST", "/v1/sessions")
        .json(&body)
        .send()
        .await
        .expect(401);
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    world.admin.grant(eve.id, &role).await;
    let token = world.admin.revoke(eve.id, &role).await;
    let expected = [
        "user.role_revoked",
        "user.role_granted",
        "user.login_failed",
        "user.logged_in",
        "user.registered",
    ];
    let path = format!("/v1/users/{}/audit", eve.id);
    let whole = world.admin.query(&path, &token).await.expect(200);
    let kinds = |answer: &tests::Answer| -> Vec<String> {
        let events = answer.body["events"].as_array().unwrap().iter();
        events.map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&whole), expected);
    let actors: Vec<&Value> = whole.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["actor"])
        .collect();
    let admin = json!(format!("user:{}", world.admin.id));
    assert_eq!(
        actors,
        [
            &admin,
            &admin,
            &json!("anonymous"),
            &json!("anonymous"),
            &json!("anonymous")
        ]
    );

    let (mut paged, mut next) = (Vec::new(), String::new());
    loop {
        let before = if next.is_empty() {
            String::new()
        } else {
            format!("&before={next}")
        };
        let page = world
            .admin
            .query(&format!("{path}?limit=2{before}"), &token)
            .await
            .expect(200);
        paged.extend(kinds(&page));
        match page.body["next"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged, expected);
}

pub async fn the_catalog_lists_roles_and_permissions(world: Arc<World>) {
    let admin = &world.admin;
    let (parent, child, permission) = (unique("parent"), unique("child"), unique("permission"));
    let described = json!({ "description": "reads invoices" });
    let path = format!("/v1/roles/{parent}");
    admin.command("PUT", &path, described).await.expect(200);
    admin.define_role(&child, Some(&parent)).await;
    let described = json!({
        "resource": "invoice", "action": "read", "description": "to read them", "category": "invoices",
    });
    let path = format!("/v1/permissions/{permission}");
    admin.command("PUT", &path, described).await.expect(200);
    let token = admin.attach(&parent, &permission).await;
    let roles = admin.query("/v1/roles", &token).await.expect(200);
    let of = |name: &str| {
        roles.body["roles"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of(&child)["parent"], &of(&child)["level"]),
        (&json!(parent), &json!(1))
    );
    assert_eq!(of(&child)["permissions"], json!([permission]));
    let (by, parent) = (json!(admin.id), of(&parent));
    assert_eq!(
        (&parent["parent"], &parent["description"], &parent["created_by"]),
        (&Value::Null, &json!("reads invoices"), &by)
    );
    // Attaching changed what it gives.
    assert!(parent["updated_at"].as_str() > parent["created_at"].as_str());
    let attached = &parent["attached"][0];
    assert_eq!(
        (&attached["permission"], &attached["granted_by"]),
        (&json!(permission), &by)
    );
    assert_eq!(attached["granted_at"], parent["updated_at"]);
    assert_eq!(of(&child)["attached"], json!([]));
    assert!(of("administrator")["permissions"].as_array().unwrap().len() >= 20);
    let permissions = admin.query("/v1/permissions", &token).await.expect(200);
    let mut all = permissions.body["permissions"].as_array().unwrap().iter();
    let found = all.find(|it| it["name"] == json!(permission)).unwrap();
    let told = ["resource", "action", "description", "category"].map(|name| &found[name]);
    assert_eq!(
        json!(told),
        json!(["invoice", "read", "to read them", "invoices"])
    );
    assert!(found["created_at"].is_string() && found["is_dangerous"] == json!(false));
}

pub async fn the_timeline_tells_the_story_from_the_log_alone(world: Arc<World>) {
    let ada = world.person("ada").await;
    let role = unique("auditor");
    world.admin.define_role(&role, None).await;
    world.admin.grant(ada.id, &role).await;
    for whom in [
        ada.id.to_string(),
        ada.name.clone(),
        format!("{}@example.org", ada.name),
    ] {
        let (code, text) = world.replay(&["timeline", &whom]).await;
        assert_eq!(code, 0, "{text}");
        let places: Vec<Option<usize>> = ["user.registered", "user.logged_in", "user.role_granted"]
            .iter()
            .map(|it| text.find(it))
            .collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        assert!(text.contains(&role), "{text}");
    }
    let (code, _) = world
        .replay(&["timeline", &uuid::Uuid::now_v7().to_string()])
        .await;
    assert_eq!(code, 1);
    world.verify().await;
}
