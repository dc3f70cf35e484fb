//! Changing names, and ending a lock.

use std::sync::Arc;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use schemas::UserId;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, PASSWORD, Person, World, unique};

async fn change(person: &Person, user: UserId, body: Value) -> Answer {
    person.command("PATCH", &format!("/v1/users/{user}"), body).await
}

fn with_password(field: &str, value: &str) -> Value {
    json!({ field: value, "current_password": PASSWORD })
}

async fn log_in(world: &World, name: Value, password: &str) -> Answer {
    let mut body = name;
    body["password"] = json!(password);
    let call = world.client.command("POST", "/v1/sessions").json(&body);
    call.send().await
}

async fn profile(world: &World, user: UserId, token: &str) -> Value {
    let answer = world.admin.query(&format!("/v1/users/{user}"), token).await;
    answer.expect(200).body
}

pub async fn an_administrator_ends_a_lock(world: Arc<World>) {
    let person = world.person("unlocked").await;
    let name = json!({ "username": person.name });
    for _ in 0..5 {
        log_in(&world, name.clone(), "wrong")
            .await
            .refused(P::InvalidCredentials);
    }
    log_in(&world, name.clone(), PASSWORD)
        .await
        .refused(P::UserLocked);
    let path = format!("/v1/users/{}/unlock", person.id);
    person
        .command("POST", &path, Value::Null)
        .await
        .refused(P::Forbidden);
    let answer = world.admin.command("POST", &path, Value::Null).await.expect(200);
    log_in(&world, name, PASSWORD).await.expect(201);
    let row = profile(&world, person.id, &answer.token()).await;
    assert_eq!(
        (&row["locked_until"], &row["failed_login_attempts"]),
        (&Value::Null, &json!(0))
    );
    // Who is not locked stays as is.
    world.admin.command("POST", &path, Value::Null).await.expect(200);
    let history = world.history().await;
    let unlocked = history.names_of_user(person.id);
    let unlocked = unlocked.iter().filter(|it| **it == "user.unlocked").count();
    assert_eq!(unlocked, 1);
}

pub async fn a_new_name_signs_in_and_the_former_one_is_free(world: Arc<World>) {
    let person = world.person("renamed").await;
    let new = unique("newly");
    let answer = change(&person, person.id, with_password("username", &new))
        .await
        .expect(200);
    log_in(&world, json!({ "username": new }), PASSWORD)
        .await
        .expect(201);
    log_in(&world, json!({ "username": person.name }), PASSWORD)
        .await
        .refused(P::InvalidCredentials);
    let row = profile(&world, person.id, &answer.token()).await;
    assert_eq!(row["username"], json!(new));
    // The address is still taken, the user name is not.
    let mut body =
        json!({ "username": person.name, "email": format!("{new}@example.org"), "password": PASSWORD });
    world
        .client
        .command("POST", "/v1/users")
        .json(&body)
        .send()
        .await
        .expect(201);
    body = json!({ "username": unique("third"), "email": format!("{}@example.org", person.name), "password": PASSWORD });
    let taken = world.client.command("POST", "/v1/users").json(&body).send().await;
    taken.refused(P::EmailTaken);
}

pub async fn two_people_swap_their_addresses(world: Arc<World>) {
    let (a, b) = (world.person("swaps").await, world.person("swapped").await);
    let address = |person: &Person| format!("{}@example.org", person.name);
    let aside = format!("{}@example.org", unique("aside"));
    change(&a, a.id, with_password("email", &address(&b)))
        .await
        .refused(P::EmailTaken);
    change(&a, a.id, with_password("email", &aside)).await.expect(200);
    change(&b, b.id, with_password("email", &address(&a)))
        .await
        .expect(200);
    change(&a, a.id, with_password("email", &address(&b)))
        .await
        .expect(200);
    let row = profile(&world, a.id, "latest").await;
    assert_eq!(row["email"], json!(address(&b)));
    let row = profile(&world, b.id, "latest").await;
    assert_eq!(row["email"], json!(address(&a)));
    let answer = log_in(&world, json!({ "email": address(&b) }), PASSWORD)
        .await
        .expect(201);
    assert_eq!(answer.body["user_id"], json!(a.id));
}

pub async fn of_many_who_want_one_name_one_gets_it(world: Arc<World>) {
    let names: Vec<String> = (0..64).map(|_| unique("racer")).collect();
    let register = |name: String| {
        let world = Arc::clone(&world);
        async move { world.register(&name).await.0 }
    };
    let people: Vec<UserId> = stream::iter(names.clone())
        .map(register)
        .buffered(8)
        .collect()
        .await;
    let wanted = unique("wanted");
    let tries = people
        .iter()
        .map(|user| change(&world.admin, *user, json!({ "username": wanted })));
    let answers = join_all(tries).await;
    let won = answers.iter().filter(|it| it.status == 200).count();
    let lost = answers.iter().filter(|it| it.slug() == "username-taken").count();
    assert_eq!((won, lost), (1, 63));
    let winner = answers.iter().position(|it| it.status == 200).unwrap();
    let answer = log_in(&world, json!({ "username": wanted }), PASSWORD)
        .await
        .expect(201);
    assert_eq!(answer.body["user_id"], json!(people[winner]));
    let loser = names[(winner + 1) % 64].as_str();
    log_in(&world, json!({ "username": loser }), PASSWORD)
        .await
        .expect(201);
}

pub async fn names_change_with_the_current_password_only(world: Arc<World>) {
    let person = world.person("careful").await;
    let new = unique("careless");
    change(&person, person.id, json!({ "username": new }))
        .await
        .refused(P::InvalidBody);
    change(
        &person,
        person.id,
        json!({ "username": new, "current_password": "wrong" }),
    )
    .await
    .refused(P::InvalidCredentials);
    for (field, value, expected) in [
        ("username", "a b", P::InvalidUsername),
        ("email", "nowhere", P::InvalidEmail),
        ("phone_number", "none", P::InvalidBody),
    ] {
        change(&person, person.id, with_password(field, value))
            .await
            .refused(expected);
    }
    // A telephone number is no way in.
    change(&person, person.id, json!({ "phone_number": "+49 30 123456" }))
        .await
        .expect(200);
    let row = profile(&world, person.id, "latest").await;
    assert_eq!(
        (&row["phone_number"], &row["username"]),
        (&json!("+49 30 123456"), &json!(person.name))
    );
    change(&person, person.id, json!({ "phone_number": null }))
        .await
        .expect(200);
    assert_eq!(
        profile(&world, person.id, "latest").await["phone_number"],
        Value::Null
    );
    let kinds = world.history().await.names_of_user(person.id).len();
    change(&person, person.id, json!({})).await.expect(200);
    change(&person, person.id, with_password("username", &person.name))
        .await
        .expect(200);
    assert_eq!(world.history().await.names_of_user(person.id).len(), kinds);
}

pub async fn a_repeated_rename_gets_its_first_answer(world: Arc<World>) {
    let person = world.person("twice").await;
    let body = with_password("username", &unique("once"));
    let call = || {
        let path = format!("/v1/users/{}", person.id);
        let call = world.client.command("PATCH", &path).bearer(&person.access_token);
        call.key("rename").json(&body).send()
    };
    let answers = join_all((0..8).map(|_| call())).await;
    let tokens: Vec<String> = answers.into_iter().map(|it| it.expect(200).token()).collect();
    assert_eq!(call().await.expect(200).token(), tokens[0]);
    let history = world.history().await;
    let names = history.names_of_user(person.id);
    assert_eq!(
        names.iter().filter(|it| **it == "user.profile_changed").count(),
        1
    );
    let other = with_password("username", &unique("other"));
    let path = format!("/v1/users/{}", person.id);
    let call = world.client.command("PATCH", &path).bearer(&person.access_token);
    call.key("rename")
        .json(&other)
        .send()
        .await
        .refused(P::IdempotencyMismatch);
}

pub async fn nobody_changes_the_profile_of_somebody_with_more_rights(world: Arc<World>) {
    let (clerk, person) = (world.person("clerk").await, world.person("served").await);
    let body = || json!({ "username": unique("served-as") });
    change(&clerk, person.id, body()).await.refused(P::Forbidden);
    let role = unique("clerks");
    world.admin.define_role(&role, None).await;
    world.admin.attach(&role, "rolecall.user_update").await;
    world.admin.grant(clerk.id, &role).await;
    change(&clerk, person.id, body()).await.expect(200);
    change(&clerk, world.admin.id, body())
        .await
        .refused(P::Escalation);
}

pub async fn a_deactivated_users_refresh_token_gives_nothing(world: Arc<World>) {
    let person = world.person("put-off").await;
    let refresh = async || {
        let body = json!({ "refresh_token": person.refresh_token });
        let call = world.client.command("POST", "/v1/sessions/refresh").json(&body);
        call.send().await
    };
    let path = |what: &str| format!("/v1/users/{}/{what}", person.id);
    world
        .admin
        .command("POST", &path("deactivate"), Value::Null)
        .await
        .expect(200);
    refresh().await.refused(P::UserDeactivated);
    // What ended with the account does not come back with it.
    world
        .admin
        .command("POST", &path("reactivate"), Value::Null)
        .await
        .expect(200);
    refresh().await.refused(P::SessionEnded);
    let history = world.history().await;
    assert!(
        !history
            .names_of_user(person.id)
            .contains(&"user.session_refreshed")
    );
}
