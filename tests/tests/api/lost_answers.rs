//! Answers that were lost, and asked for again by whoever may have lost their session with them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{PASSWORD, World, unique};

use super::sessions::{is_dead, refresh, refresh_token};

pub async fn a_lost_refresh_answer_is_given_again(world: Arc<World>) {
    let person = world.person("lost-answer").await;
    // Hung up on before the answer, perhaps before the command: retried without a key either way.
    let body = json!({ "refresh_token": person.refresh_token });
    let hung_up = world.client.command("POST", "/v1/sessions/refresh").json(&body);
    let hung_up = tokio::time::timeout(Duration::from_millis(3), hung_up.try_send()).await;
    let first = refresh(&world, &person.refresh_token).await.expect(200);
    let again = refresh(&world, &person.refresh_token).await.expect(200);
    assert_eq!(refresh_token(&again), refresh_token(&first));
    if let Ok(Ok(answer)) = hung_up {
        assert_eq!(refresh_token(&answer), refresh_token(&first));
    }
    let refreshed = async || {
        let names = world.history().await.names_of_user(person.id);
        names
            .iter()
            .filter(|name| **name == "user.session_refreshed")
            .count()
    };
    assert_eq!(refreshed().await, 1);
    let access = again.body["access_token"].as_str().unwrap();
    let own = world
        .client
        .query("GET", &format!("/v1/users/{}/roles", person.id));
    own.bearer(access)
        .at_least(&again.token())
        .send()
        .await
        .expect(200);
    let next = refresh(&world, &refresh_token(&again)).await.expect(200);
    assert_eq!(refreshed().await, 2);
    // Now it is two generations old.
    refresh(&world, &person.refresh_token)
        .await
        .refused(P::RefreshReused);
    is_dead(&world, &person, &refresh_token(&next)).await;
}

pub async fn racing_refreshes_get_one_successor(world: Arc<World>) {
    let person = world.person("racing-refresh").await;
    let tries = (0..8).map(|_| refresh(&world, &person.refresh_token));
    let answers = futures::future::join_all(tries).await;
    let mut tokens: Vec<String> = answers
        .into_iter()
        .map(|answer| refresh_token(&answer.expect(200)))
        .collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
}

/// Each ends the session that it is called in, so that the retry comes from an ended one.
pub async fn whoever_leaves_gets_the_first_answer_again(world: Arc<World>) {
    let role = unique("leaving");
    world.admin.define_role(&role, None).await;
    world.admin.attach(&role, "rolecall.user_deactivate").await;
    let with_password = json!({ "current_password": PASSWORD });
    for (method, what, body, event) in [
        ("DELETE", "/sessions", Value::Null, "user.sessions_revoked"),
        ("POST", "/deactivate", Value::Null, "user.deactivated"),
        ("DELETE", "", with_password, "user.erased"),
    ] {
        let person = world.person("leaving").await;
        world.admin.grant(person.id, &role).await;
        let path = format!("/v1/users/{}{what}", person.id);
        let call = |key: &str| {
            let call = world.client.command(method, &path).key(key);
            let call = call.bearer(&person.access_token);
            if body.is_null() { call } else { call.json(&body) }
        };
        let key = unique("key");
        let first = call(&key).send().await.expect(200);
        // Before and after the service has read that the session is over.
        for _ in 0..20 {
            let again = call(&key).send().await.expect(200);
            assert_eq!(again.body, first.body, "{event}");
        }
        let again = call(&key).at_least(&first.token()).send().await;
        assert_eq!(again.expect(200).body, first.body, "{event}");
        // Under another key there is no first answer.
        let other = call(&unique("key")).at_least("latest").send().await;
        other.refused(P::SessionEnded);
        let history = world.history().await;
        let names = history.names_of_user(person.id);
        assert_eq!(names.iter().filter(|name| **name == event).count(), 1);
    }
}
