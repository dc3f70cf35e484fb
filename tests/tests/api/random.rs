//! Random requests: whatever comes in, no service breaks.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tests::World;
use uuid::Uuid;

use crate::contract::operations;

const TRIES: usize = 30;

pub async fn random_bodies_never_break_a_service(world: Arc<World>) {
    let (caller, victim) = (world.person("caller").await, world.person("victim").await);
    world.admin.grant(caller.id, "administrator").await;
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let operations = operations(&world.client).await;
    for operation in operations.iter().filter(|it| it.body.is_some()) {
        let schema = operation.body.as_ref().unwrap();
        for _ in 0..TRIES {
            let body = body(&mut random, schema, &victim.name).to_string();
            let parameters = [
                victim.id.to_string(),
                Uuid::nil().to_string(),
                text(&mut random, &victim.name),
            ];
            let chosen = random.random_range(0..3);
            let value = |parameter: &str| match parameter {
                "id" => escaped(&parameters[chosen]),
                _ => escaped(&parameters[2]),
            };
            let call = operation.call(&world.client, &value).bearer(&caller.access_token);
            let answer = call.bytes("application/json", body.clone()).send().await;
            assert!(
                answer.status < 500,
                "{} with SEED={seed} and {body}: {}",
                operation.name(),
                answer.text
            );
        }
    }
}

/// The fields that the schema names, each with something, or left out; or something else altogether.
fn body(random: &mut StdRng, schema: &Value, name: &str) -> Value {
    if random.random_ratio(1, 8) {
        return any(random, 3, name);
    }
    let mut body = json!({});
    for field in schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, _)| field)
    {
        match random.random_range(0..6) {
            0 => {}
            1 => body[field] = any(random, 2, name),
            _ => body[field] = json!(text(random, name)),
        }
    }
    if random.random_ratio(1, 10) {
        body[text(random, name)] = any(random, 1, name);
    }
    body
}

fn any(random: &mut StdRng, depth: usize, name: &str) -> Value {
    match random.random_range(0..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random::<f64>() * 1e300),
        4 | 5 => json!(text(random, name)),
        6 => (0..random.random_range(0..4))
            .map(|_| any(random, depth - 1, name))
            .collect(),
        _ => {
            let field = |random: &mut StdRng| (text(random, name), any(random, depth - 1, name));
            (0..random.random_range(0..4))
                .map(|_| field(random))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
    }
}

/// Text that is near something valid, or far from it.
fn text(random: &mut StdRng, name: &str) -> String {
    const TEXTS: [&str; 22] = [
        "",
        " ",
        "a",
        "alice",
        "administrator",
        "rolecall",
        "rolecall.user_read",
        "user",
        "read",
        "a@b",
        "a@b.org",
        "correct horse battery staple",
        "2020-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "+262143-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "\u{0}",
        "\u{202e}\u{feff}",
        "İıßﬀ",
        "👩‍👩‍👧",
        "'; DROP TABLE users; --",
        "../../etc/passwd",
    ];
    match random.random_range(0..30) {
        n @ 0..22 => TEXTS[n].to_owned(),
        22 => "x".repeat(random.random_range(1..5_000)),
        23 => name.to_owned(),
        24 => format!("{name}@example.org"),
        25 => Uuid::now_v7().to_string(),
        26 => random.random::<i64>().to_string(),
        _ => (0..random.random_range(1..20))
            .filter_map(|_| char::from_u32(random.random_range(0..0x3000)))
            .collect(),
    }
}

fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "%20".to_owned();
    }
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
