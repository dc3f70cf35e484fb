//! Registering: each name and address once.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, registration, unique};

async fn register_all(world: &World, bodies: Vec<Value>) -> Vec<Answer> {
    let register =
        |body: Value| async move { world.client.command("POST", "/v1/users").json(&body).send().await };
    join_all(bodies.into_iter().map(register)).await
}

#[track_caller]
fn one_won(answers: &[Answer]) {
    let count = |status: u16| answers.iter().filter(|it| it.status == status).count();
    let statuses: Vec<u16> = answers.iter().map(|it| it.status).collect();
    assert_eq!((count(201), count(409)), (1, answers.len() - 1), "{statuses:?}");
}

pub async fn one_of_many_racing_registrations_wins(world: Arc<World>) {
    for _ in 0..3 {
        let name = unique("alice");
        one_won(&register_all(&world, vec![registration(&name); 64]).await);
        Person::log_in(&world.client, &name, PASSWORD).await;
    }
}

pub async fn one_of_many_with_equal_e_mail_and_different_names_wins(world: Arc<World>) {
    let email = format!("{}@example.org", unique("shared"));
    let body = |_| json!({ "username": unique("name"), "email": email, "password": PASSWORD });
    let answers = register_all(&world, (0..64).map(body).collect()).await;
    one_won(&answers);
    for loser in answers.iter().filter(|it| it.status == 409) {
        loser.clone().refused(P::EmailTaken);
    }
    // What the losers had reserved is free again.
    let body = json!({ "username": unique("name"), "email": email.to_uppercase(), "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .refused(P::EmailTaken);
}

pub async fn crossing_registrations_leave_no_name_taken_for_nobody(world: Arc<World>) {
    for _ in 0..10 {
        let (a, b) = (unique("cross"), unique("cross"));
        let mixed = |name: &str, mail: &str| json!({ "username": name, "email": format!("{mail}@example.org"), "password": PASSWORD });
        // Each wants a name of the one and the address of the other.
        let bodies = vec![mixed(&a, &a), mixed(&a, &b), mixed(&b, &a), mixed(&b, &b)];
        let answers = register_all(&world, bodies).await;
        assert!(answers.iter().all(|it| [201, 409].contains(&it.status)));
        let won = answers.iter().filter(|it| it.status == 201).count();
        assert!(
            (1..=2).contains(&won),
            "{won} of four that exclude each other in pairs"
        );
        // Nothing stays reserved without a user: what is free can be had at once.
        let free = |name: &str, mail: &str| mixed(name, mail);
        let again = register_all(
            &world,
            vec![free(&a, &unique("fresh")), free(&b, &unique("fresh"))],
        )
        .await;
        let holders = answers.iter().chain(&again).filter(|it| it.status == 201).count();
        assert_eq!(holders, 2, "both names are held once, whoever has them");
    }
}

pub async fn names_are_normalised_before_they_are_compared(world: Arc<World>) {
    let name = unique("Renée");
    let body = json!({ "username": name, "email": format!("{name}@Example.ORG"), "password": PASSWORD });
    let answer = world.client.command("POST", "/v1/users").json(&body).send().await;
    if answer.status == 201 {
        let other_case =
            json!({ "username": name.to_uppercase(), "email": "x@example.org", "password": PASSWORD });
        world
            .client
            .command("POST", "/v1/users")
            .json(&other_case)
            .send()
            .await
            .refused(P::UsernameTaken);
    }
    let name = unique("Bob");
    world.register(&name).await;
    let body = json!({ "username": format!("  {} ", name.to_uppercase()), "email": "a@b.org", "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .refused(P::UsernameTaken);
    let mail = format!("{}@EXAMPLE.org", name.to_lowercase());
    let body = json!({ "username": unique("x"), "email": mail, "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .refused(P::EmailTaken);
    let body = json!({ "email": mail, "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/sessions")
        .json(&body)
        .send()
        .await
        .expect(201);
    Person::log_in(&world.client, &name.to_lowercase(), PASSWORD).await;
}

pub async fn weak_passwords_and_malformed_names_are_refused(world: Arc<World>) {
    let name = unique("weak");
    let register = async |field: &str, value: &str| {
        let mut body = registration(&name);
        body[field] = json!(value);
        world.client.command("POST", "/v1/users").json(&body).send().await
    };
    for weak in [
        "",
        "short",
        "Password1",
        &name,
        &format!("{name}@example.org"),
        &"x".repeat(257),
    ] {
        register("password", weak).await.refused(P::WeakPassword);
    }
    for bad in [
        "",
        "no-at",
        "@",
        "a@",
        "@b.org",
        "a b@c.org",
        "a@b\u{0}.org",
        &format!("{}@b.org", "x".repeat(400)),
    ] {
        register("email", bad).await.refused(P::InvalidEmail);
    }
    for bad in [
        "",
        "ab",
        "a@b.org",
        "with space",
        "semi;colon",
        &"x".repeat(65),
        "\u{202e}abc",
    ] {
        register("username", bad).await.refused(P::InvalidUsername);
    }
    for bad in ["", "12", "not a number", "+49 30 123456; x"] {
        register("phone_number", bad).await.refused(P::InvalidBody);
    }
    world
        .client
        .command("POST", "/v1/users")
        .json(&registration(&name))
        .send()
        .await
        .expect(201);
}
