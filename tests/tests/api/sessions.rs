//! Sessions: refreshing, ending, and what is left of them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, registration, unique};

async fn refresh(world: &World, token: &str) -> Answer {
    world
        .client
        .command("POST", "/v1/sessions/refresh")
        .json(&json!({ "refresh_token": token }))
        .send()
        .await
}

fn refresh_token(answer: &Answer) -> String {
    answer.body["refresh_token"].as_str().unwrap().to_owned()
}

/// The session is over for access tokens and refresh tokens alike, on both services.
async fn is_dead(world: &World, person: &Person, refresh_token: &str) {
    refresh(world, refresh_token).await.refused(P::SessionEnded);
    let body = json!({ "current_password": PASSWORD, "new_password": "another fine password" });
    let change = world
        .client
        .command("POST", &format!("/v1/users/{}/password", person.id));
    change
        .bearer(&person.access_token)
        .at_least("latest")
        .json(&body)
        .send()
        .await
        .refused(P::SessionEnded);
    person
        .query(&format!("/v1/users/{}", person.id), "latest")
        .await
        .refused(P::SessionEnded);
}

pub async fn refreshing_replaces_the_refresh_token(world: Arc<World>) {
    let person = world.person("refreshing").await;
    let mut current = person.refresh_token.clone();
    for _ in 0..3 {
        let answer = refresh(&world, &current).await.expect(200);
        assert_eq!(answer.body["session_id"], json!(person.session_id));
        assert_eq!(answer.body["user_id"], json!(person.id));
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_ne!(refresh_token(&answer), current);
        current = refresh_token(&answer);
        let access = answer.body["access_token"].as_str().unwrap();
        let own = world
            .client
            .query("GET", &format!("/v1/users/{}/roles", person.id))
            .bearer(access);
        own.at_least(&answer.token()).send().await.expect(200);
    }
}

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

pub async fn an_old_refresh_token_ends_its_session(world: Arc<World>) {
    for uses in [2, 3] {
        let person = world.person("reused").await;
        let bystander = Person::log_in(&world.client, &person.name, PASSWORD).await;
        let mut current = person.refresh_token.clone();
        for _ in 0..uses {
            current = refresh_token(&refresh(&world, &current).await.expect(200));
        }
        refresh(&world, &person.refresh_token)
            .await
            .refused(P::RefreshReused);
        is_dead(&world, &person, &current).await;
        let names = world.history().await.names_of_user(person.id);
        assert_eq!(
            names
                .iter()
                .filter(|name| **name == "user.refresh_reuse_detected")
                .count(),
            1
        );
        refresh(&world, &bystander.refresh_token).await.expect(200);
    }
}

pub async fn a_revoked_session_is_refreshed_no_more(world: Arc<World>) {
    let admin = &world.admin;
    for by_admin in [false, true] {
        let person = world.person("revoked").await;
        let by = if by_admin { admin } else { &person };
        by.command(
            "DELETE",
            &format!("/v1/sessions/{}", person.session_id),
            Value::Null,
        )
        .await
        .expect(200);
        is_dead(&world, &person, &person.refresh_token).await;
    }
    let person = world.person("all-revoked").await;
    let second = Person::log_in(&world.client, &person.name, PASSWORD).await;
    admin
        .command(
            "DELETE",
            &format!("/v1/users/{}/sessions", person.id),
            Value::Null,
        )
        .await
        .expect(200);
    is_dead(&world, &person, &person.refresh_token).await;
    is_dead(&world, &second, &second.refresh_token).await;
}

pub async fn a_forged_refresh_token_ends_nothing(world: Arc<World>) {
    let person = world.person("forged").await;
    let second = refresh_token(&refresh(&world, &person.refresh_token).await.expect(200));
    let bytes = URL_SAFE_NO_PAD
        .decode(second.strip_prefix("rt1.").unwrap())
        .unwrap();
    let forged = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] ^= to;
        format!("rt1.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    // User, session, generation (an older, a newer one), code and proof: a byte of each.
    for (at, to) in [
        (0, 1),
        (16, 1),
        (35, 3),
        (35, 1),
        (32, 0x80),
        (36, 1),
        (67, 1),
        (68, 1),
        (bytes.len() - 1, 1),
    ] {
        let answer = refresh(&world, &forged(at, to)).await;
        assert_eq!(answer.status, 401, "byte {at}: {}", answer.text);
        assert_ne!(answer.slug(), "refresh-reused", "byte {at}");
        // Who has the proof that follows the code had the token itself, and may give it up.
        if !(36..68).contains(&at) {
            let revoke = world
                .client
                .command("POST", "/oauth/revoke")
                .form(&[("token", &forged(at, to))]);
            revoke.send().await.expect(200);
        }
    }
    for text in [
        "",
        "rt1.",
        "rt1.AAAA",
        "x",
        &person.access_token,
        &format!("{second}A"),
        &second[..second.len() - 2],
    ] {
        refresh(&world, text).await.refused(P::InvalidCredentials);
    }
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(
        names,
        ["user.registered", "user.logged_in", "user.session_refreshed"]
    );
    refresh(&world, &second).await.expect(200);
}

pub async fn revoking_by_refresh_token_tells_nothing(world: Arc<World>) {
    let person = world.person("oauth").await;
    let revoke = async |token: &str| {
        world
            .client
            .command("POST", "/oauth/revoke")
            .form(&[("token", token)])
            .send()
            .await
    };
    revoke("nonsense").await.expect(200);
    revoke(&person.refresh_token).await.expect(200);
    is_dead(&world, &person, &person.refresh_token).await;
    revoke(&person.refresh_token).await.expect(200);
}

pub async fn revoking_by_access_token_ends_its_session(world: Arc<World>) {
    let person = world.person("oauth-access").await;
    let revoke = async |token: &str, hint: &str| {
        let form = [("token", token), ("token_type_hint", hint)];
        let call = world.client.command("POST", "/oauth/revoke").form(&form);
        // An OAuth client authenticates itself; that is nothing to us.
        call.header("authorization", "Basic Y2xpZW50OnNlY3JldA==")
            .send()
            .await
    };
    let (signed, signature) = person.access_token.rsplit_once('.').unwrap();
    let mut forged = signature.to_owned();
    forged.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
    revoke(&format!("{signed}.{forged}"), "access_token")
        .await
        .expect(200);
    person
        .query(&format!("/v1/users/{}", person.id), "latest")
        .await
        .expect(200);
    revoke(&person.access_token, "something_else").await.expect(200);
    is_dead(&world, &person, &person.refresh_token).await;
    revoke(&person.access_token, "access_token").await.expect(200);
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(
        names,
        ["user.registered", "user.logged_in", "user.session_revoked"]
    );
}

pub async fn calls_that_need_no_token_do_not_look_at_one(world: Arc<World>) {
    let person = world.person("stale").await;
    person
        .command(
            "DELETE",
            &format!("/v1/sessions/{}", person.session_id),
            Value::Null,
        )
        .await
        .expect(200);
    let ended = format!("Bearer {}", person.access_token);
    for authorization in [ended.as_str(), "Bearer nonsense", "Basic YTpi"] {
        let call = |path: &str, key: &str, body: &Value| {
            let call = world.client.command("POST", path).key(key).json(body);
            call.header("authorization", authorization).send()
        };
        let login = json!({ "username": person.name, "password": PASSWORD });
        let login = call("/v1/sessions", &unique("key"), &login).await.expect(201);
        let key = unique("key");
        let body = json!({ "refresh_token": refresh_token(&login) });
        let first = call("/v1/sessions/refresh", &key, &body).await.expect(200);
        // The key means the same without the header.
        let again = world.client.command("POST", "/v1/sessions/refresh");
        let again = again.key(&key).json(&body).send().await.expect(200);
        assert_eq!(refresh_token(&again), refresh_token(&first));
        let newcomer = registration(&unique("newcomer"));
        call("/v1/users", &unique("key"), &newcomer).await.expect(201);
    }
}

pub async fn a_retried_sign_out_gets_its_first_answer(world: Arc<World>) {
    let person = world.person("leaving").await;
    let path = format!("/v1/sessions/{}", person.session_id);
    let call = |path: &str, key: &str| {
        let call = world.client.command("DELETE", path).key(key);
        call.bearer(&person.access_token)
    };
    let key = unique("key");
    let first = call(&path, &key).send().await.expect(200);
    // Before and after the service has read that the session is over.
    for _ in 0..20 {
        let again = call(&path, &key).send().await.expect(200);
        assert_eq!(again.body, first.body);
    }
    let again = call(&path, &key).at_least(&first.token());
    assert_eq!(again.send().await.expect(200).body, first.body);
    // Another key ends nothing, and this one opens nothing else.
    let everywhere = format!("/v1/users/{}/sessions", person.id);
    for (path, key) in [(&path, &unique("key")), (&everywhere, &key)] {
        let refused = call(path, key).at_least("latest").send().await;
        refused.refused(P::SessionEnded);
    }
    is_dead(&world, &person, &person.refresh_token).await;
}

pub async fn an_ended_session_changes_no_rights(world: Arc<World>) {
    let other = world.person("other").await;
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    let deputy = world.person("deputy").await;
    world.admin.grant(deputy.id, "administrator").await;
    let grant = format!("/v1/users/{}/roles/{role}", other.id);
    for _ in 0..40 {
        let deputy = Person::log_in(&world.client, &deputy.name, PASSWORD).await;
        let end = format!("/v1/sessions/{}", deputy.session_id);
        deputy.command("PUT", &grant, Value::Null).await.expect(200);
        world.admin.command("DELETE", &end, Value::Null).await.expect(200);
        // No token demanded: the service must know by itself.
        deputy
            .command("PUT", &grant, Value::Null)
            .await
            .refused(P::SessionEnded);
    }
}

pub async fn changing_the_password_ends_the_other_sessions(world: Arc<World>) {
    let person = world.person("changing").await;
    let other = Person::log_in(&world.client, &person.name, PASSWORD).await;
    let path = format!("/v1/users/{}/password", person.id);
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let new = "an entirely new password";
    person
        .command("POST", &path, change("wrong", new))
        .await
        .refused(P::InvalidCredentials);
    person
        .command("POST", &path, change(PASSWORD, "short"))
        .await
        .refused(P::WeakPassword);
    person
        .command("POST", &path, change(PASSWORD, new))
        .await
        .expect(200);
    is_dead(&world, &other, &other.refresh_token).await;
    person
        .query(&format!("/v1/users/{}", person.id), "latest")
        .await
        .expect(200);
    let body = json!({ "username": person.name, "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/sessions")
        .json(&body)
        .send()
        .await
        .refused(P::InvalidCredentials);
    Person::log_in(&world.client, &person.name, new).await;
}

pub async fn people_end_their_own_sessions_and_not_those_of_others(world: Arc<World>) {
    let (person, other) = (world.person("own").await, world.person("other").await);
    let second = Person::log_in(&world.client, &person.name, PASSWORD).await;
    let path = format!("/v1/sessions/{}", second.session_id);
    let end = || {
        world
            .client
            .command("DELETE", &path)
            .bearer(&person.access_token)
            .at_least(&second.token)
            .send()
    };
    let ended = end().await.expect(200);
    // A retry after a lost answer finds what it asked for; for others the session is unknown.
    let again = async |by: &Person| {
        let call = world.client.command("DELETE", &path).bearer(&by.access_token);
        call.at_least(&ended.token()).send().await
    };
    assert!(!again(&person).await.expect(200).token().is_empty());
    again(&other).await.refused(P::Forbidden);
    is_dead(&world, &second, &second.refresh_token).await;
    let foreign = world
        .client
        .command("DELETE", &format!("/v1/sessions/{}", other.session_id));
    foreign
        .bearer(&person.access_token)
        .at_least(&other.token)
        .send()
        .await
        .refused(P::Forbidden);
    refresh(&world, &other.refresh_token).await.expect(200);
    person
        .command(
            "DELETE",
            &format!("/v1/users/{}/sessions", person.id),
            Value::Null,
        )
        .await
        .expect(200);
    is_dead(&world, &person, &person.refresh_token).await;
}
