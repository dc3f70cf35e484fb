//! Signing in, and failing to.

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, World, unique};

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
    let expected = [
        &["user.registered", "user.logged_in"][..],
        &["user.login_failed"; 5],
        &["user.locked"],
    ]
    .concat();
    assert_eq!(world.history().await.names_of_user(person.id), expected);
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
