//! Two command services: a command runs at its ledger's owner, whichever was asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::ledger::ledger_of;
use futures::future::join_all;
use schemas::{Stream, UserId};
use serde_json::{Value, json};
use tests::{Answer, Claims, Client, Instance, PASSWORD, Person, World, registration, unique, until};
use uuid::Uuid;

const SHARED: Duration = Duration::from_secs(60);

/// Starts one more, and waits until each of the two owns something.
pub async fn second(world: &World, claims: &Claims) -> Instance {
    let second = world.another("command-service").await;
    let (first, other) = (world.rolecall.command_url(), second.url.clone());
    until(SHARED, "both own some groups", || async {
        let owned = world.owned(claims);
        owned.len() == 2 && owned.contains_key(&first) && owned.contains_key(&other)
    })
    .await;
    second
}

/// Who owns the ledger of this user.
pub fn owner_of(world: &World, claims: &Claims, user: UserId) -> String {
    let ledger = ledger_of(&user.to_string(), world.ledgers());
    claims.owner(Stream::Users, ledger).unwrap()
}

/// A person for each owner: registered at whoever is asked.
async fn people_of_each(world: &World, claims: &Claims, client: &Client) -> Vec<Person> {
    let (mut people, mut covered) = (Vec::new(), BTreeSet::new());
    while covered.len() < 2 {
        let name = unique("somebody");
        // The e-mail's ledger, the name's and the user's are three.
        let answer = client
            .command("POST", "/v1/users")
            .json(&registration(&name))
            .send()
            .await;
        let user = answer.expect(201).body["user_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        if covered.insert(owner_of(world, claims, user)) {
            people.push(Person::log_in(client, &name, PASSWORD).await);
        }
    }
    people
}

pub async fn any_instance_carries_out_any_command(world: Arc<World>) {
    let claims = world.claims();
    let second = second(&world, &claims).await;
    let urls = [world.rolecall.command_url(), second.url.clone()];
    let clients = urls.each_ref().map(|url| world.client.commanding(&[url]));
    for (here, there) in [(0, 1), (1, 0)].map(|(a, b)| (&clients[a], &clients[b])) {
        let admin = world.admin.at(here);
        let (role, resource) = (unique("role"), unique("resource"));
        admin.define_role(&role, None).await;
        admin.define_permission(&resource, "read", &resource).await;
        let defined = admin.attach(&role, &resource).await;
        for person in people_of_each(&world, &claims, here).await {
            may_and_may_not(&world, &admin, &person, &role, &resource).await;
            signs_in_and_out(here, there, &person).await;
            // What the other wrote is known here by its token.
            let elsewhere = there
                .command("PUT", &format!("/v1/users/{}/roles/{role}", person.id))
                .bearer(&world.admin.access_token)
                .at_least(&defined);
            let granted = elsewhere.send().await.expect(200).token();
            let own = here
                .command("DELETE", &format!("/v1/users/{}/roles/{role}", person.id))
                .bearer(&world.admin.access_token)
                .at_least(&granted);
            let revoked = own.send().await.expect(200).token();
            assert!(!admin.check(person.id, "read", &resource, &revoked).await);
            let events = world.history().await.names_of_user(person.id);
            assert_eq!(
                events.iter().filter(|it| **it == "user.role_granted").count(),
                2,
                "{events:?}"
            );
        }
    }
    second.server.stop().await.unwrap();
    world.verify().await;
    world.rebuild_is_equal().await;
}

async fn may_and_may_not(world: &World, admin: &Person, person: &Person, role: &str, resource: &str) {
    let granted = admin.grant(person.id, role).await;
    assert!(world.admin.check(person.id, "read", resource, &granted).await);
    let revoked = admin.revoke(person.id, role).await;
    assert!(!world.admin.check(person.id, "read", resource, &revoked).await);
}

async fn refresh(client: &Client, token: &str) -> Answer {
    let body = json!({ "refresh_token": token });
    client
        .command("POST", "/v1/sessions/refresh")
        .json(&body)
        .send()
        .await
}

async fn log_in(client: &Client, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    client.command("POST", "/v1/sessions").json(&body).send().await
}

async fn signs_in_and_out(here: &Client, there: &Client, person: &Person) {
    let text = |answer: &Answer, field: &str| answer.body[field].as_str().unwrap().to_owned();
    let first = refresh(here, &person.refresh_token).await.expect(200);
    let again = refresh(there, &text(&first, "refresh_token")).await.expect(200);
    // The access token of the one is good at the other.
    let body = json!({ "current_password": PASSWORD, "new_password": "another fine password" });
    let change = here
        .command("POST", &format!("/v1/users/{}/password", person.id))
        .bearer(&text(&again, "access_token"))
        .at_least(&again.token());
    let changed = change.json(&body).send().await;
    assert!(changed.status < 300, "{}", changed.text);
    log_in(there, &person.name, PASSWORD).await.expect(401);
    let signed_in = log_in(there, &person.name, "another fine password")
        .await
        .expect(201);
    let end = here
        .command(
            "DELETE",
            &format!("/v1/sessions/{}", text(&signed_in, "session_id")),
        )
        .bearer(&text(&signed_in, "access_token"))
        .at_least(&signed_in.token());
    end.send().await.expect(200);
    assert_eq!(
        refresh(there, &text(&signed_in, "refresh_token")).await.status,
        401
    );
}

pub async fn a_key_sent_to_two_instances_gives_one_event(world: Arc<World>) {
    let claims = world.claims();
    let second = second(&world, &claims).await;
    let both = world
        .client
        .commanding(&[&world.rolecall.command_url(), &second.url]);
    let role = unique("role");
    world.admin.define_role(&role, None).await;
    for person in people_of_each(&world, &claims, &both).await {
        let key = Uuid::now_v7().to_string();
        let path = format!("/v1/users/{}/roles/{role}", person.id);
        let body = json!({ "expires_at": "2100-01-01T00:00:00Z" });
        let grant = || {
            let call = both.command("PUT", &path).bearer(&world.admin.access_token);
            call.key(&key).json(&body).send()
        };
        same(&join_all((0..8).map(|_| grant())).await, 200);
        let events = world.history().await.names_of_user(person.id);
        assert_eq!(
            events.iter().filter(|it| **it == "user.role_granted").count(),
            1,
            "{events:?}"
        );
    }
    let (key, body) = (Uuid::now_v7().to_string(), registration(&unique("twice")));
    let register = || both.command("POST", "/v1/users").key(&key).json(&body).send();
    let answers = join_all((0..8).map(|_| register())).await;
    same(&answers, 201);
    let user: UserId = answers[0].body["user_id"].as_str().unwrap().parse().unwrap();
    let events = world.history().await.names_of_user(user);
    assert_eq!(
        events.iter().filter(|it| **it == "user.registered").count(),
        1,
        "{events:?}"
    );
    second.server.stop().await.unwrap();
}

fn same(answers: &[Answer], status: u16) {
    // Each caller's token also holds what its own authorisation rested on.
    let without_token = |answer: &Answer| -> Value {
        let mut body = answer.body.clone();
        body["token"].take();
        body
    };
    for answer in answers {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(without_token(answer), without_token(&answers[0]));
    }
}
