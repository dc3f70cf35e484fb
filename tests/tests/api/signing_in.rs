//! Signing in, and failing to.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use schemas::user::UserEvent;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, unique};

async fn log_in(world: &World, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    world
        .client
        .command("POST", "/v1/sessions")
        .json(&body)
        .send()
        .await
}

pub async fn five_wrong_passwords_lock_sign_in(world: Arc<World>) {
    let person = world.person("locked").await;
    for _ in 0..5 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    for password in ["wrong", PASSWORD] {
        let answer = log_in(&world, &person.name, password)
            .await
            .refused(P::UserLocked);
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(answer.body["retry_after"], json!(seconds));
        assert!(answer.body["locked_until"].is_string());
    }
    let history = world.history().await;
    assert_eq!(history.names_of_user(person.id).last(), Some(&"user.locked"));
    assert_eq!(history.failures_of_user(person.id).iter().sum::<i32>(), 5);
    // What comes within 10 s of the first is one event.
    assert!(history.failures_of_user(person.id).len() < 5);
    // Whoever is signed in stays so.
    person
        .query(&format!("/v1/users/{}/roles", person.id), "latest")
        .await
        .expect(200);
}

pub async fn unknown_users_and_wrong_passwords_look_alike(world: Arc<World>) {
    let person = world.person("alike").await;
    let known = log_in(&world, &person.name, "wrong")
        .await
        .refused(P::InvalidCredentials);
    for unknown in [unique("nobody"), "x".to_owned(), "a b".to_owned(), String::new()] {
        let answer = log_in(&world, &unknown, "wrong")
            .await
            .refused(P::InvalidCredentials);
        let (mut one, mut other) = (known.body.clone(), answer.body.clone());
        one["instance"].take();
        other["instance"].take();
        assert_eq!(one, other);
        let names = |answer: &Answer| {
            answer
                .headers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&known), names(&answer));
    }
    // They lock alike, too.
    let (nobody, keys) = (unique("nobody"), |answer: &Answer| {
        let body = answer.body.as_object().unwrap();
        body.keys().cloned().collect::<Vec<_>>()
    });
    for _ in 0..4 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    for _ in 0..5 {
        log_in(&world, &nobody, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    let locked = log_in(&world, &person.name, "wrong").await.refused(P::UserLocked);
    let unknown = log_in(&world, &nobody, "wrong").await.refused(P::UserLocked);
    assert_eq!(keys(&locked), keys(&unknown));
    for body in [
        json!({ "password": "x" }),
        json!({ "username": "a", "email": "b@c.org", "password": "x" }),
    ] {
        world
            .client
            .command("POST", "/v1/sessions")
            .json(&body)
            .send()
            .await
            .refused(P::InvalidBody);
    }
}

pub async fn a_deactivated_user_cannot_sign_in(world: Arc<World>) {
    let person = world.person("deactivated").await;
    let path = |what: &str| format!("/v1/users/{}/{what}", person.id);
    world
        .admin
        .command("POST", &path("deactivate"), Value::Null)
        .await
        .expect(200);
    // Only who knows the password learns why.
    log_in(&world, &person.name, "wrong")
        .await
        .refused(P::InvalidCredentials);
    log_in(&world, &person.name, PASSWORD)
        .await
        .refused(P::UserDeactivated);
    world
        .admin
        .command("POST", &path("deactivate"), Value::Null)
        .await
        .expect(200);
    world
        .admin
        .command("POST", &path("reactivate"), Value::Null)
        .await
        .expect(200);
    log_in(&world, &person.name, PASSWORD).await.expect(201);
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(
        names.iter().filter(|name| **name == "user.deactivated").count(),
        1
    );
}

pub async fn a_deactivated_users_password_is_not_guessed_either(world: Arc<World>) {
    let person = world.person("guessed-away").await;
    let path = format!("/v1/users/{}/deactivate", person.id);
    world.admin.command("POST", &path, Value::Null).await.expect(200);
    for _ in 0..5 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    for password in ["wrong", PASSWORD] {
        log_in(&world, &person.name, password)
            .await
            .refused(P::UserLocked);
    }
}

fn login(person: &Person, password: &str, device_token: &Value) -> Value {
    json!({ "username": person.name, "password": password, "device_token": device_token })
}

async fn log_in_from(world: &World, person: &Person, password: &str, device_token: &Value) -> Answer {
    let call = world.client.command("POST", "/v1/sessions");
    call.json(&login(person, password, device_token)).send().await
}

pub async fn guessing_leaves_few_events_and_lets_the_owner_in(world: Arc<World>) {
    let person = world.person("under-attack").await;
    let first = log_in(&world, &person.name, PASSWORD).await.expect(201);
    let device = &first.body["device_token"];
    let stranger = world.person("stranger").await;
    let foreign = log_in(&world, &stranger.name, PASSWORD).await.expect(201);
    let foreign = &foreign.body["device_token"];
    let garbled = json!("dt1.AAAA");
    let guesses = (0..400).map(|number| {
        let token = [&Value::Null, foreign, &garbled][number % 3];
        log_in_from(&world, &person, "a guess", token)
    });
    let answers: Vec<Answer> = stream::iter(guesses).buffer_unordered(16).collect().await;
    let locked = answers.iter().filter(|it| it.slug() == "user-locked").count();
    assert!(locked > 300, "{locked}");
    assert!(answers.iter().all(|it| [401, 423].contains(&it.status)));
    log_in(&world, &person.name, PASSWORD)
        .await
        .refused(P::UserLocked);
    let again = log_in_from(&world, &person, PASSWORD, device).await.expect(201);
    // It stays the same device, and the lock is there for all others.
    assert_eq!(&again.body["device_token"], device);
    log_in_from(&world, &person, PASSWORD, foreign)
        .await
        .refused(P::UserLocked);
    let history = world.history().await;
    let names = history.names_of_user(person.id);
    assert!(names.len() < 12, "{names:?}");
    let last = history.of_user(person.id).pop().cloned();
    assert!(matches!(last, Some(UserEvent::LoggedIn(e)) if e.despite_lock));
}

pub async fn folded_failures_reach_the_log_when_nothing_more_comes(world: Arc<World>) {
    let person = world.person("typing").await;
    for _ in 0..3 {
        log_in(&world, &person.name, "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    let written = async || {
        let failures = world.history().await.failures_of_user(person.id);
        (failures.len(), failures.iter().sum::<i32>())
    };
    assert!(written().await.0 < 3);
    // Within 10 s of the last, with some room for a slow machine.
    for _ in 0..60 {
        if written().await.1 == 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{:?}", written().await);
}

pub async fn a_device_that_guesses_is_unknown_again(world: Arc<World>) {
    let person = world.person("stolen-device").await;
    let first = log_in(&world, &person.name, PASSWORD).await.expect(201);
    let device = &first.body["device_token"];
    for _ in 0..10 {
        log_in_from(&world, &person, "a guess", device)
            .await
            .refused(P::InvalidCredentials);
    }
    log_in_from(&world, &person, PASSWORD, device)
        .await
        .refused(P::UserLocked);
}
