//! What a start makes, and what a further start leaves as it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::process::ExitCode;
use std::sync::Arc;

use local_rolecall::{ADMIN_USERNAME, port_or_free};
use local_stack::{Launch, Server};
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Client, Person, Suite, World, registration, scenarios, unique};

fn main() -> ExitCode {
    let scenarios = scenarios![
        a_deactivated_first_administrator_stays_so_until_the_epoch_is_raised,
        attempts_are_limited_before_any_password_is_looked_at,
        one_session_is_refreshed_so_often_and_one_profile_changed,
    ];
    Suite {
        scenarios,
        at_once: 2,
        shards: 1,
    }
    .main()
}

/// A command service with a log of its own, on the stack of the world.
struct Own<'a> {
    world: &'a World,
    prefix: String,
}

impl<'a> Own<'a> {
    fn new(world: &'a World) -> Self {
        let prefix = unique("own");
        Self { world, prefix }
    }

    async fn start(&self, environment: &[(&str, &str)]) -> (Server, Client) {
        let rolecall = &self.world.rolecall;
        let program = rolecall.program("command-service");
        let port = port_or_free(rand::random_range(15_000..32_000)).unwrap();
        let url = rolecall.url_of(format_args!("127.0.0.1:{port}"));
        let log = self.world.stack.log_of(&unique(&self.prefix));
        let launch = Launch::new("command-service", program, log)
            .envs(rolecall.environment().iter().map(|(name, value)| (name, value)))
            .env("ROLECALL_TOPIC_PREFIX", &self.prefix)
            // Those of the world hold the world's log.
            .env("ROLECALL_SHARDS", "")
            .env("ROLECALL_LISTEN", format!("127.0.0.1:{port}"))
            .envs(environment.iter().copied())
            .trusting(rolecall.certificates())
            .ready_at(format!("{url}/readyz"));
        let server = Server::start(launch)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        (server, Client::new(rolecall.certificates(), url.clone(), url))
    }
}

async fn sign_in(client: &Client, name: &str, password: &str) -> tests::Answer {
    let body = json!({ "username": name, "password": password });
    client.command("POST", "/v1/sessions").json(&body).send().await
}

async fn a_deactivated_first_administrator_stays_so_until_the_epoch_is_raised(world: Arc<World>) {
    let password = world.rolecall.admin_password();
    let own = Own::new(&world);
    let (server, client) = own.start(&[]).await;
    let first = Person::log_in(&client, ADMIN_USERNAME, password).await;
    let deactivate = format!("/v1/users/{}/deactivate", first.id);
    first.command("POST", &deactivate, Value::Null).await.expect(200);
    server.stop().await.unwrap();

    let (server, client) = own.start(&[]).await;
    sign_in(&client, ADMIN_USERNAME, password)
        .await
        .refused(P::UserDeactivated);
    server.stop().await.unwrap();

    let epoch = [
        ("ROLECALL_BOOTSTRAP_EPOCH", "1"),
        ("ROLECALL_ADMIN_USERNAME", "second"),
        ("ROLECALL_ADMIN_EMAIL", "second@example.org"),
    ];
    let (server, client) = own.start(&epoch).await;
    sign_in(&client, ADMIN_USERNAME, password)
        .await
        .refused(P::UserDeactivated);
    let second = Person::log_in(&client, "second", password).await;
    assert_ne!(second.id, first.id);
    second
        .command("PUT", "/v1/roles/made-by-the-second", json!({}))
        .await
        .expect(200);
    let revoke = format!("/v1/users/{}/roles/administrator", second.id);
    second.command("DELETE", &revoke, Value::Null).await.expect(200);
    server.stop().await.unwrap();

    // The same epoch again makes nobody, whatever names it has, and gives nothing back.
    let again = [epoch[0], ("ROLECALL_ADMIN_USERNAME", "third"), epoch[2]];
    let (server, client) = own.start(&again).await;
    sign_in(&client, "third", password)
        .await
        .refused(P::InvalidCredentials);
    let second = Person::log_in(&client, "second", password).await;
    second
        .command("PUT", "/v1/roles/another", json!({}))
        .await
        .refused(P::Forbidden);
    server.stop().await.unwrap();
}

async fn attempts_are_limited_before_any_password_is_looked_at(world: Arc<World>) {
    let own = Own::new(&world);
    let limits = [("ROLECALL_ATTEMPTS_PER_ACCOUNT", "6")];
    let (server, client) = own.start(&limits).await;
    let name = unique("limited");
    let call = client.command("POST", "/v1/users").json(&registration(&name));
    call.send().await.expect(201);
    let first = sign_in(&client, &name, tests::PASSWORD).await.expect(201);
    // Names that nobody has are limited alike.
    for (name, right) in [(name.as_str(), 1), ("nobody", 0)] {
        let mut refused = 0;
        for _ in right..12 {
            let answer = sign_in(&client, name, "a guess").await;
            refused += usize::from(answer.slug() == "too-many-attempts");
        }
        // At least one was given back while this went on, at most the half.
        assert!((3..=6).contains(&refused), "{name}: {refused}");
    }
    let body = json!({
        "username": name,
        "password": tests::PASSWORD,
        "device_token": first.body["device_token"],
    });
    let known = client.command("POST", "/v1/sessions").json(&body);
    known.send().await.expect(201);
    server.stop().await.unwrap();
}

async fn one_session_is_refreshed_so_often_and_one_profile_changed(world: Arc<World>) {
    let own = Own::new(&world);
    let limits = [
        ("ROLECALL_REFRESHES_PER_SESSION", "3"),
        ("ROLECALL_CHANGES_PER_ACCOUNT", "6"),
    ];
    let (server, client) = own.start(&limits).await;
    let name = unique("writing");
    let call = client.command("POST", "/v1/users").json(&registration(&name));
    call.send().await.expect(201);
    let person = Person::log_in(&client, &name, tests::PASSWORD).await;
    let refresh = async |token: &str| {
        let body = json!({ "refresh_token": token });
        let call = client.command("POST", "/v1/sessions/refresh").json(&body);
        call.send().await
    };
    let mut token = person.refresh_token.clone();
    for _ in 0..3 {
        let refreshed = refresh(&token).await.expect(200);
        token = refreshed.body["refresh_token"].as_str().unwrap().to_owned();
    }
    refresh(&token).await.refused(P::TooManyAttempts);
    let change = async |number: &str| {
        let path = format!("/v1/users/{}", person.id);
        let body = json!({ "phone_number": number });
        person.command("PATCH", &path, body).await
    };
    for digit in 0..6 {
        change(&format!("+49 30 123456{digit}")).await.expect(200);
    }
    change("+49 30 1234567").await.refused(P::TooManyAttempts);
    // Another session of the same person is refreshed as before.
    let other = Person::log_in(&client, &name, tests::PASSWORD).await;
    refresh(&other.refresh_token).await.expect(200);
    server.stop().await.unwrap();
}
