//! A refresh whose answer was lost.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use service_kit::problem::ProblemType as P;
use tests::World;

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
