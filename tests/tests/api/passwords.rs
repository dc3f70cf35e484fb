//! Which passwords may be chosen.

use std::sync::Arc;

use serde_json::json;
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, registration, unique};

async fn change(person: &Person, current: &str, new: &str) -> Answer {
    let path = format!("/v1/users/{}/password", person.id);
    let body = json!({ "current_password": current, "new_password": new });
    person.command("POST", &path, body).await
}

pub async fn a_recent_password_is_not_taken_again(world: Arc<World>) {
    let person = world.person("recent").await;
    let number = |number: usize| format!("the {number}th fine password of mine");
    change(&person, PASSWORD, PASSWORD)
        .await
        .refused(P::PasswordReused);
    let mut current = PASSWORD.to_owned();
    for new in (1..5).map(number) {
        change(&person, &current, &new).await.expect(200);
        change(&person, &new, PASSWORD).await.refused(P::PasswordReused);
        current = new;
    }
    // Five count, the present one among them: with the next one the first is forgotten.
    change(&person, &current, &number(5)).await.expect(200);
    change(&person, &number(5), &number(2))
        .await
        .refused(P::PasswordReused);
    change(&person, &number(5), PASSWORD).await.expect(200);
}

pub async fn a_password_typed_in_another_form_is_the_same(world: Arc<World>) {
    let name = unique("typed");
    let mut body = registration(&name);
    body["password"] = json!("ein sch\u{f6}nes langes Wort");
    world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .expect(201);
    Person::log_in(&world.client, &name, "ein scho\u{308}nes langes Wort").await;
}

pub async fn every_weak_password_is_told_by_which_rule(world: Arc<World>) {
    let name = unique("ruled");
    for (password, rule) in [
        ("fourteen chars", "too_short"),
        (&"x".repeat(257), "too_long"),
        ("CorrectHorseBatteryStaple", "common"),
        (&format!("{name}-{name}-{name}"), "own_name"),
        (&format!("{name}@example.org"), "own_name"),
    ] {
        let mut body = registration(&name);
        body["password"] = json!(password);
        let call = world.client.command("POST", "/v1/users").json(&body);
        let refused = call.send().await.refused(P::WeakPassword);
        assert_eq!(refused.body["rule"], rule, "{password}");
    }
}
