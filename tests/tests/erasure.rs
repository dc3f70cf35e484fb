//! Erasing a person: what was stored cannot be read any more, the names are free, and the log stays whole.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ledger_of;
use event_log::stored_keys;
use schemas::{UserId, WrappedKey};
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{PASSWORD, Person, Suite, World, registration, scenarios, unique};
use tokio::process::Command;

fn main() -> ExitCode {
    let scenarios = scenarios![
        an_erased_person_is_found_nowhere_and_everything_else_stays,
        people_erase_themselves_with_their_password_only,
        an_erasure_survives_the_death_of_who_recorded_it,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 2,
    }
    .main_with(|builder| builder.env("ROLECALL_KEY_SEGMENT_SECS", "2"))
}

async fn erase(by: &Person, user: UserId, body: Value) -> tests::Answer {
    by.command("DELETE", &format!("/v1/users/{user}"), body).await
}

async fn key_of(world: &World, user: UserId) -> Option<WrappedKey> {
    let ledger = ledger_of(&user.to_string(), world.ledgers());
    let keys = stored_keys(&world.kafka(), ledger, HashSet::from([user])).await;
    keys.unwrap().remove(&user)
}

async fn completed(world: &World, user: UserId) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while world.history().await.names_of_user(user).last() != Some(&"user.erasure_completed") {
        assert!(
            Instant::now() < deadline,
            "the erasure of {user} is not completed"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Files below a folder that hold these bytes.
async fn files_with(folder: &Path, bytes: &[u8]) -> String {
    // The longest part that grep takes for one line.
    let parts = bytes.split(|byte| [0, b'\n'].contains(byte));
    let part = parts.max_by_key(|part| part.len()).unwrap();
    assert!(part.len() >= 8, "too short to be sure");
    let pattern: String = part.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    for _ in 0..20 {
        let found = Command::new("grep")
            .env("LC_ALL", "C")
            .args(["-rlaP", &pattern])
            .arg(folder)
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8(found.stderr).unwrap();
        // Servers remove files while it reads; then it looks again.
        if errors.is_empty() {
            assert!(
                found.status.code().is_some_and(|code| code < 2),
                "{}",
                found.status
            );
            return String::from_utf8(found.stdout).unwrap();
        }
        assert!(
            errors.lines().all(|line| line.contains("No such file")),
            "{errors}"
        );
    }
    panic!("files below {} vanish all the time", folder.display());
}

async fn an_erased_person_is_found_nowhere_and_everything_else_stays(world: Arc<World>) {
    let marker = format!("zq{}", uuid::Uuid::now_v7().simple());
    let (name, address) = (marker[..20].to_owned(), format!("{marker}@mail.example.org"));
    let (phone, agent) = ("+49 30 90210779", format!("{marker}-agent"));
    let mut body = registration(&name);
    (body["email"], body["phone_number"]) = (json!(address), json!(phone));
    let register = world
        .client
        .command("POST", "/v1/users")
        .header("user-agent", &agent);
    register.json(&body).send().await.expect(201);
    let person = Person::log_in(&world.client, &name, PASSWORD).await;
    let (role, resource) = (unique("role"), unique("resource"));
    world.admin.define_role(&role, None).await;
    world.admin.define_permission(&resource, "read", &resource).await;
    world.admin.attach(&role, &resource).await;
    let granted = world.admin.grant(person.id, &role).await;
    assert!(world.admin.check(person.id, "read", &resource, &granted).await);
    let other = world.person("stays").await;
    world.projected().await;
    let (kafka, key) = (
        world.stack.data_dir().join("kafka-1"),
        key_of(&world, person.id).await.unwrap(),
    );
    assert_ne!(
        files_with(&kafka, key.as_bytes()).await,
        "",
        "the key is where it is looked for"
    );

    let answer = erase(&world.admin, person.id, Value::Null).await.expect(200);
    let erased = answer.token();
    erase(&world.admin, person.id, Value::Null).await.expect(200);
    assert!(!world.admin.check(person.id, "read", &resource, &erased).await);
    let log_in = json!({ "username": name, "password": PASSWORD });
    let log_in = world.client.command("POST", "/v1/sessions").json(&log_in);
    log_in.send().await.refused(P::InvalidCredentials);
    let refresh = json!({ "refresh_token": person.refresh_token });
    let refresh = world
        .client
        .command("POST", "/v1/sessions/refresh")
        .json(&refresh);
    assert!(refresh.send().await.status >= 400);
    let path = format!("/v1/users/{}", person.id);
    person.query(&path, &erased).await.refused(P::SessionEnded);
    let row = world.admin.query(&path, &erased).await.expect(200).body;
    assert_eq!((&row["erased"], &row["active"]), (&json!(true), &json!(false)));
    for field in ["username", "email", "phone_number", "last_login_network"] {
        assert_eq!(row[field], Value::Null, "{field}");
    }
    // Somebody else gets the names at once.
    let (again, _) = world.register(&name).await;
    assert_ne!(again, person.id);
    for (method, what, body) in [
        ("PUT", format!("roles/{role}"), Value::Null),
        ("POST", "reactivate".to_owned(), Value::Null),
    ] {
        let path = format!("/v1/users/{}/{what}", person.id);
        world
            .admin
            .command(method, &path, body)
            .await
            .refused(P::NoSuchUser);
    }

    completed(&world, person.id).await;
    assert_eq!(key_of(&world, person.id).await, None);
    let deadline = Instant::now() + Duration::from_secs(90);
    while !files_with(&kafka, key.as_bytes()).await.is_empty() {
        assert!(
            Instant::now() < deadline,
            "the key is still in the broker's files"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(key_of(&world, other.id).await.is_some());
    for secret in [&marker, phone, &agent, &address] {
        for folder in [kafka.clone(), world.stack.postgres_data(0)] {
            assert_eq!(files_with(&folder, secret.as_bytes()).await, "", "{secret}");
        }
    }
    let (code, text) = world.replay(&["timeline", &person.id.to_string()]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("user.erased") && text.contains("email=<erased>"),
        "{text}"
    );
    world.verify().await;
    world.rebuild_is_equal().await;
}

async fn people_erase_themselves_with_their_password_only(world: Arc<World>) {
    let (person, other) = (world.person("leaves").await, world.person("looks-on").await);
    erase(&other, person.id, Value::Null).await.refused(P::Forbidden);
    erase(&person, person.id, Value::Null)
        .await
        .refused(P::InvalidBody);
    let body = |password: &str| json!({ "current_password": password });
    erase(&person, person.id, body("wrong"))
        .await
        .refused(P::InvalidCredentials);
    erase(&person, person.id, body(PASSWORD)).await.expect(200);
    erase(&person, person.id, body(PASSWORD))
        .await
        .refused(P::SessionEnded);
    let clerk = world.person("clerk").await;
    let role = unique("erasers");
    world.admin.define_role(&role, None).await;
    world.admin.attach(&role, "rolecall.user_erase").await;
    world.admin.grant(clerk.id, &role).await;
    erase(&clerk, world.admin.id, Value::Null)
        .await
        .refused(P::Escalation);
    erase(&clerk, other.id, Value::Null).await.expect(200);
    let nobody = UserId::new_v7();
    erase(&clerk, nobody, Value::Null).await.refused(P::NoSuchUser);
}

async fn an_erasure_survives_the_death_of_who_recorded_it(world: Arc<World>) {
    let person = world.person("gone").await;
    erase(&world.admin, person.id, Value::Null).await.expect(200);
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    let (again, _) = world.register(&person.name).await;
    assert_ne!(again, person.id);
    completed(&world, person.id).await;
    assert_eq!(key_of(&world, person.id).await, None);
}
