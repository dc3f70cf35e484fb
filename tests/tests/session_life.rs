//! How sessions begin, are told, age and end, and how the keys of their tokens change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_rolecall::Service;
use serde_json::{Value, json};
use service_kit::problem::ProblemType as P;
use tests::{Answer, Client, PASSWORD, Person, Suite, World, scenarios, until};

const SOON: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let scenarios = scenarios![
        a_session_that_is_not_used_ends_everywhere,
        one_session_too_many_ends_the_first,
        the_list_of_sessions_tells_device_place_and_assurance,
        a_fingerprint_is_bounded,
        a_stranger_from_abroad_is_suspicious_and_the_owner_is_not,
        signing_keys_rotate_under_load_without_one_refusal,
    ];
    let places = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/places.mmdb");
    Suite {
        scenarios,
        at_once: 4,
        shards: 1,
    }
    .main_with(|builder| {
        builder
            .commands(2)
            .env("ROLECALL_GEOIP_FILE", places.display().to_string())
            .env("ROLECALL_TRUST_PROXY", "true")
            .env("ROLECALL_SESSIONS_PER_USER", "3")
            .env("ROLECALL_KEYS_REREAD", "1")
            .env_of(Service::Command, 1, "ROLECALL_SESSION_IDLE_TIMEOUT", "5")
    })
}

/// Signs in as from this address, with a few things more.
async fn sign_in(client: &Client, name: &str, address: &str, more: &Value) -> Answer {
    let mut body = json!({ "username": name, "password": PASSWORD });
    let fields = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    let call = client.command("POST", "/v1/sessions").json(&body);
    call.header("x-forwarded-for", address)
        .header("user-agent", "Browser/1.0")
        .send()
        .await
}

async fn refresh(client: &Client, refresh_token: &str) -> Answer {
    let call = client.command("POST", "/v1/sessions/refresh");
    call.json(&json!({ "refresh_token": refresh_token })).send().await
}

async fn introspect(world: &World, token: &str) -> Value {
    let call = world.client.query("POST", "/oauth/introspect");
    let call = call.bearer(&world.admin.access_token).at_least("latest");
    call.form(&[("token", token)]).send().await.expect(200).body
}

async fn a_session_that_is_not_used_ends_everywhere(world: Arc<World>) {
    let name = world.person("idling").await.name;
    let impatient = world.rolecall.url(Service::Command, 1);
    let client = world.client.commanding(&[&impatient]);
    let person = Person::log_in(&client, &name, PASSWORD).await;
    let told = introspect(&world, &person.access_token).await;
    assert_eq!(
        (&told["active"], &told["acr"], &told["amr"]),
        (&json!(true), &json!("aal1"), &json!(["pwd"]))
    );
    assert_eq!(told["auth_time"], told["iat"]);
    // No access token outlives its session.
    assert!(
        told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap() <= 5,
        "{told}"
    );
    // The session itself: its token ends on a whole second, up to one second before.
    let list = format!("/v1/users/{}/sessions", person.id);
    until(SOON, "the session has ended", || async {
        let sessions = world.admin.query(&list, "latest").await.expect(200);
        let mut live = sessions.body["sessions"].as_array().unwrap().iter();
        live.any(|session| session["id"] == person.session_id && session["live"] == false)
    })
    .await;
    assert_eq!(
        introspect(&world, &person.access_token).await,
        json!({ "active": false })
    );
    // Wherever it is asked for: the other instance never heard of idle times.
    for client in [&client, &world.client.clone()] {
        refresh(client, &person.refresh_token)
            .await
            .refused(P::SessionEnded);
    }
    person.query(&list, "").await.refused(P::TokenExpired);
}

async fn one_session_too_many_ends_the_first(world: Arc<World>) {
    let first = world.person("many").await;
    let client = world.client.clone();
    let second = Person::log_in(&client, &first.name, PASSWORD).await;
    // The first is used again, so the second would end first for want of use.
    let first_token = refresh(&client, &first.refresh_token).await.expect(200);
    Person::log_in(&client, &first.name, PASSWORD).await;
    Person::log_in(&client, &first.name, PASSWORD).await;
    refresh(&client, &second.refresh_token)
        .await
        .refused(P::SessionEnded);
    refresh(&client, first_token.body["refresh_token"].as_str().unwrap())
        .await
        .expect(200);
}

async fn the_list_of_sessions_tells_device_place_and_assurance(world: Arc<World>) {
    let name = world.person("listed").await.name;
    let client = world.client.clone();
    let fingerprint = json!({ "device_fingerprint": "canvas 17" });
    let answer = sign_in(&client, &name, "192.0.2.7", &fingerprint)
        .await
        .expect(201);
    let (user, token) = (answer.body["user_id"].as_str().unwrap(), answer.token());
    let list = async |token: &str| {
        let call = client.query("GET", &format!("/v1/users/{user}/sessions"));
        let call = call.bearer(answer.body["access_token"].as_str().unwrap());
        let listed = call.at_least(token).send().await.expect(200);
        listed.body["sessions"][0].clone()
    };
    let told = list(&token).await;
    let of = |names: &[&str], session: &Value| {
        json!(
            names
                .iter()
                .map(|name| session[*name].clone())
                .collect::<Vec<_>>()
        )
    };
    assert_eq!(told["id"], answer.body["session_id"]);
    let names = [
        "user_agent",
        "network",
        "ip_address",
        "country_code",
        "city",
        "device_fingerprint",
    ];
    let expected = json!([
        "Browser/1.0",
        "192.0.0.0/16",
        "192.0.2.7",
        "DE",
        "Berlin",
        "canvas 17"
    ]);
    assert_eq!(of(&names, &told), expected);
    let names = ["live", "current", "assurance", "methods"];
    assert_eq!(of(&names, &told), json!([true, true, "aal1", ["pwd"]]));
    // A refresh from elsewhere moves it there.
    let call = client
        .command("POST", "/v1/sessions/refresh")
        .header("x-forwarded-for", "198.51.100.7");
    let body = json!({ "refresh_token": answer.body["refresh_token"] });
    let refreshed = call.json(&body).send().await.expect(200);
    let told = list(&refreshed.token()).await;
    assert_eq!(
        of(&["country_code", "city", "network"], &told),
        json!(["NO", "Troms\u{f8}", "198.51.0.0/16"])
    );
}

async fn a_fingerprint_is_bounded(world: Arc<World>) {
    let name = world.person("long").await.name;
    let with = |length| json!({ "device_fingerprint": "x".repeat(length) });
    sign_in(&world.client, &name, "192.0.2.7", &with(512))
        .await
        .expect(201);
    sign_in(&world.client, &name, "192.0.2.7", &with(513))
        .await
        .refused(P::InvalidBody);
}

async fn a_stranger_from_abroad_is_suspicious_and_the_owner_is_not(world: Arc<World>) {
    let name = world.person("travelling").await.name;
    let client = world.client.clone();
    let home = sign_in(&client, &name, "192.0.2.7", &json!({})).await.expect(201);
    let known = json!({ "device_token": home.body["device_token"] });
    sign_in(&client, &name, "192.0.2.8", &known).await.expect(201);
    let abroad = sign_in(&client, &name, "198.51.100.7", &json!({}))
        .await
        .expect(201);
    let path = format!(
        "/v1/users/{}/audit?limit=5",
        home.body["user_id"].as_str().unwrap()
    );
    let audit = world.admin.query(&path, &abroad.token()).await.expect(200);
    let events = audit.body["events"].as_array().unwrap().iter();
    // One session too many ended another.
    let told: Vec<Value> = events
        .filter(|event| event["type"] == "user.logged_in")
        .map(|event| json!([event["type"], event["risk_score"], event["suspicious"]]))
        .collect();
    assert_eq!(told[0], json!(["user.logged_in", 90, true]));
    assert_eq!(told[1], json!(["user.logged_in", 0, false]));
    let words = audit.body["events"][0]["description"].as_str().unwrap();
    assert_eq!(
        words,
        "signed in by pwd (new_device, new_network, new_country, impossible_travel)"
    );
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Refreshes, and uses each token at both services, as long as it is to.
async fn use_a_session(world: Arc<World>, on: Arc<AtomicBool>, calls: Arc<AtomicUsize>) -> Vec<String> {
    let mut person = world.person("rotating").await;
    let mut kids = vec![kid(&person.access_token)];
    let own = format!("/v1/users/{}/roles", person.id);
    while on.load(Ordering::Relaxed) {
        let refreshed = refresh(&world.client, &person.refresh_token).await.expect(200);
        let text = |name: &str| refreshed.body[name].as_str().unwrap().to_owned();
        (person.access_token, person.refresh_token) = (text("access_token"), text("refresh_token"));
        kids.push(kid(&person.access_token));
        person.query(&own, "").await.expect(200);
        let path = format!("/v1/sessions/{}", uuid::Uuid::now_v7());
        // An own token is good there, whatever the answer is about.
        let answer = person.command("DELETE", &path, Value::Null).await;
        assert_ne!(answer.status, 401, "{}", answer.text);
        calls.fetch_add(1, Ordering::Relaxed);
    }
    kids.dedup();
    kids
}

async fn signing_keys_rotate_under_load_without_one_refusal(world: Arc<World>) {
    let (on, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(use_a_session(
                Arc::clone(&world),
                Arc::clone(&on),
                Arc::clone(&calls),
            ))
        })
        .collect();
    let published = async || {
        let keys = world
            .client
            .query("GET", "/.well-known/jwks.json")
            .send()
            .await
            .expect(200);
        keys.body["keys"].as_array().unwrap().len()
    };
    let mut expected = published().await;
    let (early, watcher) = (world.person("early").await, world.person("watcher").await);
    for algorithm in ["es256", "eddsa"] {
        let arguments = ["rotate", "--algorithm", algorithm, "--publish-ahead", "8"];
        let (code, text) = world.run("rolecall-keys", &arguments).await;
        assert_eq!(code, 0, "{text}");
        let new = text.split(' ').next().unwrap().to_owned();
        expected += 1;
        until(SOON, "the next key is published", || async {
            published().await == expected
        })
        .await;
        // It is published before it signs, and then it signs everywhere.
        let signs = async |client: &Client| {
            let person = Person::log_in(client, &watcher.name, PASSWORD).await;
            kid(&person.access_token) == new
        };
        for index in 0..2 {
            let client = world
                .client
                .commanding(&[&world.rolecall.url(Service::Command, index)]);
            until(SOON, "the new key signs", || async { signs(&client).await }).await;
        }
        let so_far = calls.load(Ordering::Relaxed);
        until(SOON, "the load goes on", || async {
            calls.load(Ordering::Relaxed) > so_far + 24
        })
        .await;
    }
    on.store(false, Ordering::Relaxed);
    for session in load {
        let kids = session.await.unwrap();
        assert_eq!(kids.len(), 3, "{kids:?}");
    }
    // Former tokens are good until they end by themselves.
    early
        .query(&format!("/v1/users/{}", early.id), "")
        .await
        .expect(200);
}
