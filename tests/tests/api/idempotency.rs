//! `Idempotency-Key`: a retry gets the first answer, and nothing else gets anything.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, registration, unique};
use uuid::Uuid;

fn key() -> String {
    Uuid::now_v7().to_string()
}

/// The answer to a sign-in or a refresh, without the time that its access token has left.
fn tokens(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    body["expires_in"].take();
    body
}

async fn keyed(caller: &Person, world: &World, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    world
        .client
        .command(method, path)
        .bearer(&caller.access_token)
        .key(key)
        .json(body)
        .send()
        .await
}

pub async fn the_same_key_at_once_gives_one_event_and_one_answer(world: Arc<World>) {
    let name = unique("twice");
    let (body, its_key) = (registration(&name), key());
    let register = || {
        world
            .client
            .command("POST", "/v1/users")
            .key(&its_key)
            .json(&body)
            .send()
    };
    let answers = join_all((0..8).map(|_| register())).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    let user = answers[0].body["user_id"].as_str().unwrap().parse().unwrap();

    let (role, its_key) = (unique("role"), key());
    world.admin.define_role(&role, None).await;
    let path = format!("/v1/users/{user}/roles/{role}");
    let body = json!({ "expires_at": "2100-01-01T00:00:00Z" });
    let grants = join_all((0..8).map(|_| keyed(&world.admin, &world, "PUT", &path, &its_key, &body))).await;
    for answer in &grants {
        answer.clone().expect(200);
    }
    let revoked = world.admin.revoke(user, &role).await;
    // A late retry of the grant gives its old answer, and grants nothing again.
    let late = keyed(&world.admin, &world, "PUT", &path, &its_key, &body)
        .await
        .expect(200);
    assert!(!late.token().is_empty());
    let roles = world
        .admin
        .query(&format!("/v1/users/{user}/roles"), &revoked)
        .await
        .expect(200);
    assert_eq!(roles.body["roles"], json!([]));

    let login = json!({ "username": name, "password": PASSWORD });
    let its_key = key();
    let sign_in = || {
        world
            .client
            .command("POST", "/v1/sessions")
            .key(&its_key)
            .json(&login)
            .send()
    };
    let sessions = join_all((0..8).map(|_| sign_in())).await;
    for answer in &sessions {
        assert_eq!((answer.status, tokens(answer)), (201, tokens(&sessions[0])));
    }

    let refresh = json!({ "refresh_token": sessions[0].body["refresh_token"] });
    let its_key = key();
    let renew = || {
        world
            .client
            .command("POST", "/v1/sessions/refresh")
            .key(&its_key)
            .json(&refresh)
            .send()
    };
    let renewed = join_all((0..8).map(|_| renew())).await;
    for answer in &renewed {
        assert_eq!((answer.status, tokens(answer)), (200, tokens(&renewed[0])));
    }
    let expected = [
        "user.registered",
        "user.role_granted",
        "user.role_revoked",
        "user.logged_in",
        "user.session_refreshed",
    ];
    assert_eq!(world.history().await.names_of_user(user), expected);
}

pub async fn a_key_with_another_request_is_refused_and_changes_nothing(world: Arc<World>) {
    let person = world.person("mismatch").await;
    let (one, other, its_key) = (unique("role"), unique("role"), key());
    world.admin.define_role(&one, None).await;
    world.admin.define_role(&other, None).await;
    let path = |role: &str| format!("/v1/users/{}/roles/{role}", person.id);
    keyed(&world.admin, &world, "PUT", &path(&one), &its_key, &json!({}))
        .await
        .expect(200);
    let expiring = json!({ "expires_at": "2100-01-01T00:00:00Z" });
    for (role, body) in [(&one, &expiring), (&other, &json!({}))] {
        keyed(&world.admin, &world, "PUT", &path(role), &its_key, body)
            .await
            .refused(P::IdempotencyMismatch);
    }
    let roles = world
        .admin
        .query(&format!("/v1/users/{}/roles", person.id), "latest")
        .await
        .expect(200);
    let names: Vec<&str> = roles.body["roles"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names, [one.as_str()]);

    let its_key = key();
    let define = |description: &str| json!({ "description": description });
    let path = format!("/v1/roles/{one}");
    keyed(&world.admin, &world, "PUT", &path, &its_key, &define("first"))
        .await
        .expect(200);
    keyed(&world.admin, &world, "PUT", &path, &its_key, &define("second"))
        .await
        .refused(P::IdempotencyMismatch);
}

pub async fn a_key_belongs_to_its_caller_and_operation(world: Arc<World>) {
    let (person, second) = (world.person("shared").await, world.person("second-admin").await);
    world.admin.grant(second.id, "administrator").await;
    let (role, its_key) = (unique("role"), key());
    world.admin.define_role(&role, None).await;
    let path = format!("/v1/users/{}/roles/{role}", person.id);
    keyed(&world.admin, &world, "PUT", &path, &its_key, &json!({}))
        .await
        .expect(200);
    // Another body under the same key, by another caller: a request of its own.
    let expiring = json!({ "expires_at": "2100-01-01T00:00:00Z" });
    keyed(&second, &world, "PUT", &path, &its_key, &expiring)
        .await
        .expect(200);
    // And another operation.
    world
        .client
        .command("DELETE", &path)
        .bearer(&world.admin.access_token)
        .key(&its_key)
        .send()
        .await
        .expect(200);
    let names = world.history().await.names_of_user(person.id);
    assert_eq!(
        names[2..],
        ["user.role_granted", "user.role_granted", "user.role_revoked"]
    );
}

pub async fn a_mismatched_registration_frees_no_name(world: Arc<World>) {
    let (name, its_key) = (unique("first"), key());
    let register = async |body: &Value| {
        world
            .client
            .command("POST", "/v1/users")
            .key(&its_key)
            .json(body)
            .send()
            .await
    };
    let first = registration(&name);
    let answer = register(&first).await.expect(201);

    let mut same_name = first.clone();
    same_name["email"] = json!(format!("{}@example.org", unique("other")));
    register(&same_name).await.refused(P::IdempotencyMismatch);
    let mut same_mail = first.clone();
    same_mail["username"] = json!(unique("other"));
    register(&same_mail).await.refused(P::IdempotencyMismatch);
    let taken = unique("taken");
    world.register(&taken).await;
    let mut partly_taken = first.clone();
    partly_taken["username"] = json!(taken);
    let refused = register(&partly_taken).await;
    assert!([409, 422].contains(&refused.status), "{}", refused.text);

    // The first registration stands, with both its names.
    let again = world
        .client
        .command("POST", "/v1/users")
        .json(&same_name)
        .send()
        .await;
    again.refused(P::UsernameTaken);
    let again = world
        .client
        .command("POST", "/v1/users")
        .json(&same_mail)
        .send()
        .await;
    again.refused(P::EmailTaken);
    Person::log_in(&world.client, &name, PASSWORD).await;
    assert_eq!(register(&first).await.expect(201).body, answer.body);
}

pub async fn malformed_keys_are_refused(world: Arc<World>) {
    let body = registration(&unique("malformed"));
    for bad in ["", " ", "a b", "käse", &"x".repeat(256)] {
        let call = world.client.command("POST", "/v1/users").key(bad).json(&body);
        call.send().await.refused(P::InvalidIdempotencyKey);
    }
    let call = world
        .client
        .command("POST", "/v1/users")
        .key("one")
        .key("two")
        .json(&body);
    call.send().await.refused(P::InvalidIdempotencyKey);
    world
        .client
        .command("POST", "/v1/users")
        .key(&"~".repeat(255))
        .json(&body)
        .send()
        .await
        .expect(201);
}

pub async fn a_repeated_login_needs_the_password(world: Arc<World>) {
    let person = world.person("repeated").await;
    let its_key = key();
    let log_in = async |password: &str| {
        let body = json!({ "username": person.name, "password": password });
        world
            .client
            .command("POST", "/v1/sessions")
            .key(&its_key)
            .json(&body)
            .send()
            .await
    };
    let first = log_in(PASSWORD).await.expect(201);
    log_in("a guess of the key").await.refused(P::InvalidCredentials);
    let again = log_in(PASSWORD).await.expect(201);
    assert_eq!(tokens(&again), tokens(&first));
    let left = |answer: &Answer| answer.body["expires_in"].as_u64().unwrap();
    assert!((1..=3600).contains(&left(&first)) && left(&again) <= left(&first));
}

pub async fn a_registration_under_one_key_has_one_password(world: Arc<World>) {
    for _ in 0..5 {
        let (name, its_key) = (unique("one-password"), key());
        let password = |number: usize| format!("a fine password, number {number}");
        let register = async |number: usize| {
            let mut body = registration(&name);
            body["password"] = json!(password(number));
            let call = world.client.command("POST", "/v1/users").key(&its_key);
            call.json(&body).send().await
        };
        // Fewer wrong ones than lock.
        let answers = join_all((0..4).map(register)).await;
        let (winners, losers): (Vec<_>, Vec<_>) = (0..4).partition(|it| answers[*it].status == 201);
        assert_eq!(winners.len(), 1, "{answers:?}");
        for loser in losers {
            answers[loser].clone().refused(P::IdempotencyMismatch);
        }
        Person::log_in(&world.client, &name, &password(winners[0])).await;
        register(winners[0]).await.expect(201);
    }
}

pub async fn guessing_by_registering_again_locks(world: Arc<World>) {
    let (name, its_key) = (unique("guessed"), key());
    let register = async |password: &str| {
        let mut body = registration(&name);
        body["password"] = json!(password);
        let call = world.client.command("POST", "/v1/users").key(&its_key);
        call.json(&body).send().await
    };
    let first = register(PASSWORD).await.expect(201);
    for number in 0..5 {
        register(&format!("a wrong guess, number {number}"))
            .await
            .refused(P::IdempotencyMismatch);
    }
    // Right or wrong is not told any more, here as little as at sign-in.
    register(PASSWORD).await.refused(P::UserLocked);
    register("a wrong guess, number 6").await.refused(P::UserLocked);
    let login = json!({ "username": name, "password": PASSWORD });
    let sign_in = world.client.command("POST", "/v1/sessions").json(&login);
    sign_in.send().await.refused(P::UserLocked);
    let user = first.body["user_id"].as_str().unwrap().parse().unwrap();
    let history = world.history().await;
    assert_eq!(history.names_of_user(user).last(), Some(&"user.locked"));
    assert_eq!(history.failures_of_user(user).iter().sum::<i32>(), 5);
}

pub async fn a_repeated_password_change_needs_the_same_passwords(world: Arc<World>) {
    const NEW: &str = "an entirely new password";
    let person = world.person("changing-twice").await;
    let path = format!("/v1/users/{}/password", person.id);
    let its_key = key();
    let change = async |key: &str, current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        keyed(&person, &world, "POST", &path, key, &body).await
    };
    let first = change(&its_key, PASSWORD, NEW).await.expect(200);
    // A retry after a lost answer brings the old password.
    assert_eq!(change(&its_key, PASSWORD, NEW).await.expect(200).body, first.body);
    change(&its_key, NEW, "another fine password")
        .await
        .refused(P::IdempotencyMismatch);
    change(&its_key, PASSWORD, "another fine password")
        .await
        .refused(P::IdempotencyMismatch);
    // Knowing the new one proves nothing without a change to repeat.
    change(&key(), "wrong", NEW).await.refused(P::InvalidCredentials);
    // What was folded of the failures is written before the sign-in.
    Person::log_in(&world.client, &person.name, NEW).await;
    let history = world.history().await;
    let names = history.names_of_user(person.id);
    let expected = [
        "user.password_changed",
        "user.login_failed",
        "user.login_failed",
        "user.logged_in",
    ];
    assert_eq!(names[2..], expected);
    assert_eq!(history.failures_of_user(person.id), [1, 1]);
}

pub async fn racing_password_changes_under_one_key_set_one_password(world: Arc<World>) {
    let person = world.person("racing").await;
    let path = format!("/v1/users/{}/password", person.id);
    let its_key = key();
    let password = |number: usize| format!("a fine password, number {number}");
    let change = async |number: usize| {
        let body = json!({ "current_password": PASSWORD, "new_password": password(number) });
        keyed(&person, &world, "POST", &path, &its_key, &body).await
    };
    let answers = join_all((0..4).map(change)).await;
    let (winners, losers): (Vec<_>, Vec<_>) = (0..4).partition(|it| answers[*it].status == 200);
    assert_eq!(winners.len(), 1, "{answers:?}");
    for loser in losers {
        answers[loser].clone().refused(P::IdempotencyMismatch);
    }
    Person::log_in(&world.client, &person.name, &password(winners[0])).await;
}
