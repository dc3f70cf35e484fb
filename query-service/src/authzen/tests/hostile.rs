//! Whatever comes in is answered, and never with a failure of the service.

use axum::http::Method;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::search::{ACTION, RESOURCE, SUBJECT};
use super::{MANY, ONE, ask, may_write};
use crate::testing::{ADMIN, Answer, BOB, EDITOR, NOBODY, TestApp, catch_up, one_shard};

const ALL: [&str; 5] = [ONE, MANY, SUBJECT, RESOURCE, ACTION];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "user",
            "document",
            "write",
            "p1.",
            "p1.AA",
            "execute_all"
        ])
        .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any_name(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    let known = [
        "type",
        "id",
        "name",
        "properties",
        "key_id",
        "token",
        "limit",
        "evaluations_semantic",
        "subject",
    ];
    prop_oneof![
        4 => prop::sample::select(known.map(str::to_owned).to_vec()),
        1 => any::<String>(),
    ]
}

/// Each member as it should be, something else, or not there.
fn any_body() -> impl Strategy<Value = Value> {
    let good = json!({
        "subject": { "type": "user", "id": NOBODY },
        "action": { "name": "write" },
        "resource": { "type": "document", "id": "1" },
        "context": { "a": 1 },
        "evaluations": [{}, { "action": { "name": "shred" } }],
        "options": { "evaluations_semantic": "deny_on_first_deny" },
        "page": { "limit": 1 },
        "unknown": [1],
    });
    let Value::Object(good) = good else { unreachable!() };
    let members: Vec<_> = good
        .into_iter()
        .map(|(name, value)| {
            let value = prop_oneof![
                3 => Just(Some(value)),
                2 => any_json().prop_map(Some),
                1 => Just(None),
            ];
            value.prop_map(move |value| value.map(|value| (name.clone(), value)))
        })
        .collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
}

/// A body as text, and where a byte of it is another one.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (any_body(), damage).prop_map(|(body, damage)| {
        let mut text = body.to_string().into_bytes();
        if let Some((place, byte)) = damage {
            let place = place.index(text.len());
            text[place] = byte;
        }
        text
    })
}

fn is_orderly(answer: &Answer) {
    assert!([200, 400].contains(&answer.status), "{}", answer.text);
    let media_type = if answer.status == 200 {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    assert_eq!(answer.header("content-type"), media_type);
    assert!(!answer.text.is_empty());
}

#[test]
fn any_body_is_answered_or_refused() {
    let runtime = Runtime::new().unwrap();
    let (stack, test) = runtime.block_on(async {
        let (stack, dsn, pool) = one_shard().await;
        let test = TestApp::with_shard(&dsn, None);
        catch_up(&pool, &test).await;
        (stack, test)
    });
    proptest!(ProptestConfig::with_cases(200), |(body in any_text())| {
        for path in ALL {
            let request = test.post(path, ADMIN, body.clone());
            is_orderly(&runtime.block_on(test.send(request)));
        }
    });
    runtime.block_on(stack.shutdown()).unwrap();
}

#[tokio::test]
async fn nesting_is_refused_where_it_would_be_read_and_skipped_where_not() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let body = |member: &str| {
        let mut body = may_write(BOB).to_string();
        body.insert_str(1, &format!(r#""{member}":{{"a":{open}{close}}},"#));
        body
    };
    // Only a batch may be so long.
    let answer = test.send(test.post(MANY, ADMIN, body("other"))).await;
    assert_eq!((answer.status, &answer.body["decision"]), (200, &json!(true)));
    let mut context = may_write(BOB);
    context.as_object_mut().unwrap().remove("context");
    let context = context.to_string();
    let context = context.replacen('{', &format!(r#"{{"context":{{"a":{open}{close}}},"#), 1);
    let answer = test.send(test.post(MANY, ADMIN, context)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("nested deeper"), "{}", answer.text);
    for part in ["subject", "action", "resource"] {
        let deep = format!(r#""{part}":{{"properties":{{"a":{open}{close}}},"#);
        let body = may_write(BOB).to_string();
        let body = body.replacen(r#","properties":{"dept":1}"#, "", 1);
        let body = body.replacen(&format!(r#""{part}":{{"#), &deep, 1);
        let answer = test.send(test.post(MANY, ADMIN, body)).await;
        assert_eq!(answer.status, 400, "{part}");
        assert!(answer.text.contains("nested deeper"), "{part}: {}", answer.text);
    }
    // The whole body.
    for body in [open.clone(), "{\"a\":".repeat(80_000)] {
        assert_eq!(test.send(test.post(MANY, ADMIN, body)).await.status, 400);
    }
}

#[tokio::test]
async fn ten_megabytes_and_ten_thousand_items_are_refused() {
    let test = TestApp::new();
    for path in ALL {
        let mut body = may_write(BOB);
        body["padding"] = json!("x".repeat(10_000_000));
        let answer = ask(&test, path, ADMIN, &body).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (413, "The body is too large")
        );
    }
    let mut body = may_write(BOB);
    body["evaluations"] = json!(vec![json!({}); 10_000]);
    let answer = ask(&test, MANY, ADMIN, &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("at most 1000"), "{}", answer.text);
    body["evaluations"] = json!(vec![json!({}); 1_000]);
    let answer = ask(&test, MANY, ADMIN, &body).await;
    assert_eq!(answer.body["evaluations"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn names_are_not_told_twice_in_attributes() {
    let test = TestApp::new();
    let body = may_write(BOB).to_string();
    for (good, twice) in [
        (r#"{"time":"now"}"#, r#"{"time":"now","time":"later"}"#),
        (r#"{"time":"now"}"#, r#"{"a":[{"b":1,"\u0062":1}]}"#),
        (r#"{"dept":1}"#, r#"{"dept":1,"dept":1}"#),
    ] {
        assert!(body.contains(good));
        let answer = test
            .send(test.post(ONE, ADMIN, body.replacen(good, twice, 1)))
            .await;
        assert_eq!(answer.status, 400, "{twice}");
        assert!(answer.text.contains("twice"), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_a_plain_string() {
    let test = TestApp::new();
    for (method, path, status) in [
        (Method::GET, ONE, 405),
        (Method::PUT, MANY, 405),
        (Method::DELETE, ONE, 405),
        (Method::POST, "/access/v1/evaluation/", 404),
        (Method::POST, "/access/v2/evaluation", 404),
        (Method::GET, "/access/", 404),
    ] {
        let mut request = test.post(path, ADMIN, "{}");
        *request.method_mut() = method;
        let answer = test.send(request).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.body, Value::Null);
        assert!(!answer.text.is_empty());
        assert_eq!(answer.header("allow").is_empty(), status == 404, "{path}");
    }
}
