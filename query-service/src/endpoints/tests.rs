use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, header};
use schemas::{LogId, Position, Stream, Timestamp, UserId};
use serde_json::{Value, json};
use service_kit::consistency::ConsistencyToken;

use crate::testing::{ADMIN, ALICE, Answer, BOB, EDITOR, NOBODY, TestApp, session};

async fn introspect(test: &TestApp, caller: UserId, form: &str) -> Answer {
    let mut request = test.post("/oauth/introspect", caller, form.to_owned());
    let media_type = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, media_type);
    test.send(request).await
}

#[tokio::test]
async fn a_live_token_is_active_and_says_who() {
    let test = TestApp::new();
    let form = format!("token={}&token_type_hint=access_token", test.access_token(ALICE));
    let mut answer = introspect(&test, ADMIN, &form).await;
    let (iat, exp) = (answer.body["iat"].take(), answer.body["exp"].take());
    assert_eq!(exp.as_i64().unwrap() - iat.as_i64().unwrap(), 300);
    assert_eq!(answer.body["auth_time"].take(), iat);
    let expected = json!({
        "active": true, "token_type": "Bearer", "iss": "rolecall", "aud": "rolecall",
        "sub": ALICE, "sid": session(ALICE), "client_id": "rolecall",
        "jti": "00000000-0000-0000-0000-000000000003", "iat": null, "exp": null,
        "auth_time": null, "acr": "aal2", "amr": ["pwd", "otp"],
    });
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("rolecall-token"), test.app.basis(ALICE).to_string());
}

#[tokio::test]
async fn whatever_is_not_live_is_inactive_and_says_no_more() {
    let test = TestApp::new();
    let alice = format!("token={}", test.access_token(ALICE));
    let bob = format!("token={}", test.access_token(BOB));
    test.log_out(ALICE);
    test.deactivate(BOB);
    let unheard = format!("token={}", test.access_token(NOBODY));
    let forged = format!("{alice}x");
    for form in [
        &alice,
        &bob,
        &unheard,
        &forged,
        "token=x",
        "token=a.b.c",
        "token=",
    ] {
        let answer = introspect(&test, ADMIN, form).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({ "active": false })),
            "{form}"
        );
        assert!(!answer.headers["rolecall-token"].is_empty());
    }
}

#[tokio::test]
async fn introspection_needs_a_form_and_the_permission() {
    let test = TestApp::new();
    let form = format!("token={}", test.access_token(ALICE));
    let answer = introspect(&test, ALICE, &form).await;
    assert_eq!((answer.status, answer.slug()), (403, "forbidden"));
    for form in ["", "token_type_hint=x", "token=a&token=b"] {
        let answer = introspect(&test, ADMIN, form).await;
        assert_eq!(
            (answer.status, answer.slug()),
            (400, "invalid-parameter"),
            "{form}"
        );
        assert_eq!(answer.body["error"], "invalid_request");
    }
    let json = test.send(test.post("/oauth/introspect", ADMIN, "{}")).await;
    assert_eq!((json.status, json.slug()), (415, "unsupported-media-type"));
    let long = format!("token={}", "x".repeat(70_000));
    assert_eq!(introspect(&test, ADMIN, &long).await.status, 413);
}

#[tokio::test]
async fn a_session_not_heard_of_is_over_once_the_end_of_the_log_is_reached() {
    let test = TestApp::new();
    let answer = test.get("/v1/roles", NOBODY).await;
    assert_eq!((answer.status, answer.slug()), (401, "session-ended"));
}

#[tokio::test]
async fn a_node_that_cannot_read_on_answers_nobody() {
    let test = TestApp::new();
    test.fed.stop("record Users-0@7 cannot be read");
    for path in ["/v1/roles", "/v1/permissions"] {
        let answer = test.get(path, ADMIN).await;
        assert_eq!((answer.status, answer.slug()), (503, "not-yet"));
    }
    let keys = Request::get("/.well-known/jwks.json")
        .body(Body::empty())
        .unwrap();
    assert_eq!(test.send(keys).await.body["keys"][0]["kty"], "OKP");
}

#[tokio::test]
async fn roles_of_a_user_are_named_and_expire() {
    let test = TestApp::new();
    let expiry = Timestamp::now();
    test.grant(BOB, EDITOR, Some(expiry));
    let answer = test.get(&format!("/v1/users/{BOB}/roles"), BOB).await;
    let editor = json!({
        "id": EDITOR, "name": "editor", "expires_at": expiry, "expired": true, "scope": null,
    });
    assert_eq!(
        answer.body,
        json!({ "active": true, "roles": [editor], "inherited": [] })
    );
    let path = format!("/v1/users/{BOB}/permissions");
    let none = json!({ "active": true, "permissions": [] });
    assert_eq!(test.get(&path, BOB).await.body, none);

    test.grant(BOB, EDITOR, None);
    let answer = test.get(&path, ADMIN).await;
    assert_eq!(answer.body["permissions"][0]["name"], "document.write");
    assert_eq!(answer.header("rolecall-token"), test.app.basis(BOB).to_string());
    test.deactivate(BOB);
    let answer = test.get(&path, ADMIN).await;
    assert_eq!(answer.body, json!({ "active": false, "permissions": [] }));
}

#[tokio::test]
async fn others_need_a_permission_and_unknown_people_are_404() {
    let test = TestApp::new();
    for part in ["", "/roles", "/permissions", "/sessions", "/audit"] {
        let of = |user: UserId| format!("/v1/users/{user}{part}");
        assert_eq!(test.get(&of(BOB), ALICE).await.slug(), "forbidden", "{part}");
        assert_eq!(test.get(&of(NOBODY), ALICE).await.slug(), "forbidden", "{part}");
        assert_eq!(
            test.get(&of(NOBODY), ADMIN).await.slug(),
            "no-such-user",
            "{part}"
        );
        let answer = test.get(&format!("/v1/users/bob{part}"), ADMIN).await;
        assert_eq!(
            (answer.status, answer.slug()),
            (400, "invalid-parameter"),
            "{part}"
        );
        let request = Request::get(of(BOB)).body(Body::empty()).unwrap();
        assert_eq!(test.send(request).await.status, 401, "{part}");
    }
    for path in ["/v1/roles", "/v1/permissions"] {
        assert_eq!(test.get(path, ALICE).await.slug(), "forbidden");
    }
}

#[tokio::test]
async fn bad_pages_are_refused() {
    let test = TestApp::new();
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "before=x",
        "before=-1-2",
        "limit=%ff",
    ] {
        let answer = test.get(&format!("/v1/users/{BOB}/audit?{query}"), BOB).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

/// Nothing listens where the shards should be.
#[tokio::test]
async fn a_shard_that_is_down_takes_down_its_own_reads_only() {
    let test = TestApp::new();
    let of_bob = ["", "/sessions", "/audit"].map(|part| format!("/v1/users/{BOB}{part}"));
    let of_catalog = ["/v1/roles", "/v1/permissions"].map(str::to_owned);
    for path in of_bob.iter().chain(&of_catalog) {
        let answer = test.get(path, ADMIN).await;
        assert_eq!(
            (answer.status, answer.slug()),
            (503, "dependency-unavailable"),
            "{path}"
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(test.get(&format!("/v1/users/{BOB}/roles"), BOB).await.status, 200);
}

#[tokio::test]
async fn what_is_demanded_is_waited_for() {
    let test = TestApp::new();
    let path = format!("/v1/users/{BOB}/roles");
    let next = Position {
        offset: test.log_in(BOB).offset + 1,
        ..test.log_in(ALICE)
    };
    assert_eq!(test.get_at_least(&path, BOB, Some("latest")).await.status, 200);
    // Alice's and Bob's partitions differ; her position is none of his.
    assert_ne!(test.app.node.ledger(ALICE), test.app.node.ledger(BOB));
    let bob = Position {
        partition: test.app.node.ledger(BOB),
        ..next
    };
    let token = test.token_of(bob);

    let asked = Instant::now();
    let answer = test.get_at_least(&path, BOB, Some(&token)).await;
    assert_eq!((answer.status, answer.slug()), (503, "not-yet"));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "beyond the end is told at once"
    );

    test.grant(BOB, EDITOR, None);
    let answer = test.get_at_least(&path, BOB, Some(&token)).await;
    assert_eq!(answer.body["roles"][0]["name"], "editor");
}

#[tokio::test]
async fn tokens_of_another_log_and_nonsense_are_refused() {
    let test = TestApp::new();
    let position = Position {
        stream: Stream::Catalog,
        partition: 0,
        offset: 1,
    };
    let foreign = ConsistencyToken::from_positions(LogId::new_v7(), [position]).to_string();
    let path = format!("/v1/users/{BOB}/roles");
    let answer = test.get_at_least(&path, BOB, Some(&foreign)).await;
    assert_eq!((answer.status, answer.slug()), (400, "foreign-token"));
    let answer = test.get_at_least(&path, BOB, Some("rc9.x")).await;
    assert_eq!((answer.status, answer.slug()), (400, "invalid-token-header"));

    let mut request = test.post("/access/v1/evaluation", ADMIN, "{}");
    request
        .headers_mut()
        .insert("rolecall-at-least", foreign.parse().unwrap());
    let answer = test.send(request).await;
    assert_eq!((answer.status, answer.body), (400, Value::Null));
}

#[tokio::test]
async fn the_description_names_every_call() {
    let test = TestApp::new();
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let answer = test.send(request).await;
    let paths: Vec<_> = answer.body["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(paths.len(), 21, "{paths:?}");
    let docs = test
        .send(Request::get("/docs/").body(Body::empty()).unwrap())
        .await;
    assert_eq!(docs.status, 200);
}
