//! What happened, across all users.

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Person, World};

async fn audit(world: &World, query: &str, token: &str) -> Answer {
    world.admin.query(&format!("/v1/audit?{query}"), token).await
}

fn events(answer: &Answer) -> &Vec<Value> {
    answer.body["events"].as_array().unwrap()
}

pub async fn what_happened_to_everybody_is_told_in_pages(world: Arc<World>) {
    let before = world.person("witness").await;
    let since = {
        let trail = audit(&world, "limit=1", &before.token).await.expect(200);
        events(&trail)[0]["occurred_at"].as_str().unwrap().to_owned()
    };
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(world.person("audited").await);
    }
    let role = tests::unique("audited");
    let defined = world.admin.define_role(&role, None).await;
    let mut tokens: Vec<_> = people.iter().map(|person| person.token.as_str()).collect();
    tokens.push(&defined);
    let token = tokens.join(",");
    // Others act meanwhile: what is newer than the first page does not move the ones behind it.
    let (mut told, mut page) = (Vec::new(), format!("limit=3&since={since}"));
    loop {
        let answer = audit(&world, &page, &token).await.expect(200);
        told.extend(events(&answer).iter().cloned());
        let Some(next) = answer.body["next"].as_str() else {
            break;
        };
        page = format!("limit=3&since={since}&before={next}");
    }
    let place = |event: &Value| {
        (
            event["occurred_at"].to_string(),
            event["ledger"].as_i64(),
            event["offset"].as_i64(),
        )
    };
    assert!(
        told.windows(2).all(|two| place(&two[0]) > place(&two[1])),
        "{told:?}"
    );
    for person in &people {
        let of_person = |event: &&Value| event["user_id"] == json!(person.id);
        let kinds: Vec<_> = told
            .iter()
            .filter(of_person)
            .map(|event| &event["type"])
            .collect();
        assert_eq!(kinds, ["user.logged_in", "user.registered"]);
    }
    // The catalog's too.
    let of_role = |event: &&Value| event["ledger"] == -1 && event["type"] == "catalog.role_defined";
    assert!(told.iter().any(|event| of_role(&event)), "{told:?}");
}

pub async fn the_audit_log_is_searched_by_type_and_suspicion(world: Arc<World>) {
    let victim = world.person("guessed").await;
    for _ in 0..3 {
        let guess = world.client.command("POST", "/v1/sessions");
        let guess = guess.json(&json!({ "username": victim.name, "password": "wrong horse battery" }));
        guess.send().await.refused(P::InvalidCredentials);
    }
    let now = Person::log_in(&world.client, &victim.name, tests::PASSWORD).await;
    let failed = audit(&world, "limit=500&type=user.login_failed", &now.token)
        .await
        .expect(200);
    assert!(
        events(&failed)
            .iter()
            .all(|event| event["type"] == "user.login_failed")
    );
    let of_victim = |event: &&Value| event["user_id"] == json!(victim.id);
    assert!(
        events(&failed).iter().any(|event| of_victim(&event)),
        "{}",
        failed.text
    );
    let suspicious = audit(&world, "suspicious=true", &now.token).await.expect(200);
    assert!(
        events(&suspicious)
            .iter()
            .all(|event| event["suspicious"] == true)
    );
    for bad in [
        "limit=0",
        "before=1",
        "since=yesterday",
        "type=DROP%20TABLE",
        "suspicious=perhaps",
    ] {
        audit(&world, bad, &now.token).await.refused(P::InvalidParameter);
    }
}

pub async fn a_person_is_found_by_a_name(world: Arc<World>) {
    let person = world.person("Sought.For").await;
    let find = async |query: &str, token: &str| world.admin.query(&format!("/v1/users?{query}"), token).await;
    let (name, token) = (&person.name, &person.token);
    for query in [
        format!("username={name}"),
        format!("username={}", name.to_uppercase()),
        format!("email={name}@Example.ORG"),
    ] {
        for token in [token.as_str(), "latest"] {
            let found = find(&query, token).await.expect(200);
            assert_eq!(found.body["users"][0]["id"], json!(person.id), "{}", found.text);
            assert_eq!(found.body["users"][0]["username"], json!(name));
        }
    }
    // The former name is nobody's at once.
    let renamed = tests::unique("renamed");
    let change = json!({ "username": renamed, "current_password": person.password });
    let path = format!("/v1/users/{}", person.id);
    let changed = person.command("PATCH", &path, change).await.expect(200).token();
    let found = find(&format!("username={renamed}"), &changed).await.expect(200);
    assert_eq!(found.body["users"][0]["id"], json!(person.id));
    for nobody in [format!("username={name}"), format!("email={renamed}@example.org")] {
        let found = find(&nobody, &changed).await.expect(200);
        assert_eq!(found.body["users"], json!([]), "{nobody}");
    }
    // And may be another's; the token of that registration says nothing of where the name was before.
    let mut body = tests::registration(name);
    body["email"] = json!(format!("{renamed}@example.org"));
    let register = world.client.command("POST", "/v1/users").json(&body);
    let second = register.send().await.expect(201);
    let found = find(&format!("username={name}"), &second.token())
        .await
        .expect(200);
    assert_eq!(found.body["users"][0]["id"], second.body["user_id"]);
    for bad in [
        "",
        "username=a&email=b@example.org",
        "username=a%20b",
        "email=nobody",
    ] {
        find(bad, token).await.refused(P::InvalidParameter);
    }
}
