mod certification;
mod hostile;
mod scopes;
mod search;
mod subjects;

use axum::body::Body;
use axum::http::Request;
use domain::rolecall_permissions::administrator_role_id;
use schemas::{Timestamp, UserId};
use serde_json::{Value, json};

use crate::testing::{ADMIN, ALICE, Answer, BOB, EDITOR, NOBODY, TestApp};

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

fn may_write(user: UserId) -> Value {
    json!({
        "subject": { "type": "user", "id": user, "properties": { "dept": 1 } },
        "action": { "name": "write" },
        "resource": { "type": "document", "id": "1", "owner": "x" },
        "context": { "time": "now" },
        "unknown": [1, 2],
    })
}

async fn ask(test: &TestApp, path: &str, caller: UserId, body: &Value) -> Answer {
    test.send(test.post(path, caller, body.to_string())).await
}

async fn refused(body: &str) -> String {
    let test = TestApp::new();
    let answer = test.send(test.post(ONE, ADMIN, body.to_owned())).await;
    assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    assert!(answer.header("content-type").starts_with("text/plain"));
    answer.text
}

#[tokio::test]
async fn a_grant_allows_until_it_is_revoked() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let answer = ask(&test, ONE, ADMIN, &may_write(BOB)).await;
    let granted = json!({ "reason": "granted", "role_id": EDITOR });
    assert_eq!(answer.body, json!({ "decision": true, "context": granted }));
    let basis = test.app.basis(BOB);
    assert_eq!(answer.header("rolecall-token"), basis.to_string());

    test.revoke(BOB, EDITOR);
    let answer = ask(&test, ONE, ADMIN, &may_write(BOB)).await;
    assert_eq!(
        answer.body,
        json!({ "decision": false, "context": { "reason": "no_grant" } })
    );
    assert_ne!(answer.header("rolecall-token"), basis.to_string());
}

#[tokio::test]
async fn every_denial_has_its_reason() {
    let test = TestApp::new();
    let reason = async |body: Value| {
        let answer = ask(&test, ONE, ADMIN, &body).await;
        assert_eq!((answer.status, &answer.body["decision"]), (200, &json!(false)));
        answer.body["context"]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(may_write(NOBODY)).await, "unknown_user");
    let mut body = may_write(BOB);
    body["subject"]["id"] = json!("bob@example.org");
    assert_eq!(reason(body.clone()).await, "unknown_user");
    body["subject"]["type"] = json!("robot");
    assert_eq!(reason(body).await, "unknown_subject_type");
    let mut body = may_write(BOB);
    body["action"]["name"] = json!("shred");
    assert_eq!(reason(body).await, "no_such_permission");
    test.grant(BOB, EDITOR, Some(Timestamp::now()));
    assert_eq!(reason(may_write(BOB)).await, "expired_grant");
    test.grant(BOB, EDITOR, None);
    test.deactivate(BOB);
    assert_eq!(reason(may_write(BOB)).await, "inactive_user");
}

#[tokio::test]
async fn only_permitted_callers_ask_about_others() {
    let test = TestApp::new();
    let answer = ask(&test, ONE, ALICE, &may_write(BOB)).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("rolecall.access_check"), "{}", answer.text);
    assert_eq!(ask(&test, ONE, ALICE, &may_write(ALICE)).await.status, 200);
    let both = json!({ "evaluations": [may_write(ALICE), may_write(BOB)] });
    assert_eq!(ask(&test, MANY, ALICE, &both).await.status, 403);
    test.revoke(ADMIN, administrator_role_id());
    assert_eq!(ask(&test, ONE, ADMIN, &may_write(BOB)).await.status, 403);
}

#[tokio::test]
async fn without_a_token_the_answer_is_a_plain_401() {
    let test = TestApp::new();
    let body = Body::from(may_write(BOB).to_string());
    let request = Request::post(ONE)
        .header("content-type", "application/json")
        .body(body);
    let answer = test.send(request.unwrap()).await;
    assert_eq!((answer.status, &answer.body), (401, &Value::Null));
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    test.log_out(ADMIN);
    assert_eq!(ask(&test, ONE, ADMIN, &may_write(BOB)).await.status, 401);
}

#[tokio::test]
async fn broken_bodies_are_400_with_a_plain_string() {
    for body in ["", "{", "[]", "null", "7", "{}", r#"{"subject": 1}"#] {
        refused(body).await;
    }
    for part in ["subject", "action", "resource"] {
        let mut body = may_write(BOB);
        body.as_object_mut().unwrap().remove(part);
        assert!(refused(&body.to_string()).await.contains(part));
    }
    for (part, field) in [("subject", "id"), ("subject", "type"), ("action", "name")] {
        let mut body = may_write(BOB);
        body[part][field] = json!(12);
        refused(&body.to_string()).await;
        body[part].as_object_mut().unwrap().remove(field);
        assert!(refused(&body.to_string()).await.contains(field));
    }
    for part in ["subject", "action", "resource", "context"] {
        let mut body = may_write(BOB);
        body[part] = json!("text");
        refused(&body.to_string()).await;
    }
    refused(r#"{"subject": {"type": "user", "type": "user", "id": "1"}}"#).await;
}

/// Attributes are the caller's own: one that has the name of ours may be anything.
#[tokio::test]
async fn a_key_that_is_none_of_ours_denies_and_spoils_nothing() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let key = "01890a5d-ac96-774b-bcce-b302099a8057";
    for key_id in [
        json!("a"),
        json!(key),
        json!(7),
        json!({}),
        json!(["a"]),
        json!(true),
    ] {
        let mut body = may_write(BOB);
        body["subject"]["properties"] = json!({ "key_id": key_id });
        let answer = ask(&test, ONE, ADMIN, &body).await;
        assert_eq!(answer.status, 200, "{key_id}: {}", answer.text);
        assert_eq!(answer.body["context"]["reason"], "unknown_user", "{key_id}");
        // Nobody needs a right to ask about themselves.
        assert_eq!(ask(&test, ONE, BOB, &body).await.status, 200);
    }
    for properties in [json!({ "key_id": null }), json!({}), json!(null)] {
        let mut body = may_write(BOB);
        body["subject"]["properties"] = properties;
        assert_eq!(ask(&test, ONE, ADMIN, &body).await.body["decision"], true);
    }
}

/// A ledger that the others went on without.
#[tokio::test]
async fn what_cannot_be_decided_now_is_no_denial() {
    let test = TestApp::new();
    let carol = test.elsewhere();
    test.grant(carol, EDITOR, None);
    test.grant(ALICE, EDITOR, None);
    test.fed.lag(test.app.node.ledger(carol));
    let answer = ask(&test, ONE, ADMIN, &may_write(carol)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(answer.header("content-type").starts_with("text/plain"));
    let both = json!({ "evaluations": [may_write(carol), may_write(ALICE)] });
    let answer = ask(&test, MANY, ADMIN, &both).await;
    assert_eq!(decisions(&answer), [false, true]);
    let error = &answer.body["evaluations"][0]["context"]["error"];
    assert_eq!(error["status"], 503);
    assert!(error["message"].is_string());
    // One more event, and it has caught up.
    test.grant(carol, EDITOR, None);
    assert_eq!(
        ask(&test, ONE, ADMIN, &may_write(carol)).await.body["decision"],
        true
    );
}

/// With the right elements in the right order too.
#[tokio::test]
async fn an_array_is_no_object() {
    let parts = [
        ("subject", json!(["user", BOB, null])),
        ("action", json!(["write"])),
        ("resource", json!(["document", "1"])),
        ("context", json!([])),
    ];
    for (part, array) in &parts {
        let mut body = may_write(BOB);
        body[*part] = array.clone();
        let message = refused(&body.to_string()).await;
        assert!(message.contains("expected an object"), "{part}: {message}");
    }
    let whole = may_write(BOB);
    let whole = ["subject", "action", "resource", "context"].map(|part| &whole[part]);
    refused(&json!(whole).to_string()).await;
    let mut body = may_write(BOB);
    body["subject"]["properties"] = json!([null]);
    refused(&body.to_string()).await;

    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let mut body = may_write(BOB);
    body["evaluations"] = json!([{}, whole, { "action": ["write"] }]);
    let answer = ask(&test, MANY, ADMIN, &body).await;
    assert_eq!(decisions(&answer), [true, false, false]);
    body["options"] = json!(["execute_all"]);
    assert_eq!(ask(&test, MANY, ADMIN, &body).await.status, 400);
}

#[tokio::test]
async fn bytes_that_are_no_text_and_other_media_types_are_400() {
    let test = TestApp::new();
    let answer = test
        .send(test.post(ONE, ADMIN, &b"{\"subject\": \"\xff\"}"[..]))
        .await;
    assert_eq!(answer.status, 400);
    for media_type in ["text/plain", "application/xml", ""] {
        let mut request = test.post(ONE, ADMIN, may_write(BOB).to_string());
        request
            .headers_mut()
            .insert("content-type", media_type.parse().unwrap());
        assert_eq!(test.send(request).await.status, 400, "{media_type}");
    }
    let mut request = test.post(ONE, ADMIN, may_write(BOB).to_string());
    let media_type = "Application/JSON; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", media_type);
    assert_eq!(test.send(request).await.status, 200);
}

#[tokio::test]
async fn an_oversized_body_is_413() {
    let test = TestApp::new();
    for (path, size) in [(ONE, 70_000), (MANY, 600_000)] {
        let mut body = may_write(BOB);
        body["padding"] = json!("x".repeat(size));
        let answer = ask(&test, path, ADMIN, &body).await;
        assert_eq!((answer.status, &answer.body), (413, &Value::Null));
    }
}

#[tokio::test]
async fn items_take_what_they_leave_out_from_the_top() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let mut body = may_write(BOB);
    body["evaluations"] = json!([
        {},
        { "action": { "name": "shred" } },
        { "subject": { "type": "user", "id": ALICE } },
        { "resource": { "type": "document", "id": "7" }, "context": {} },
    ]);
    let answer = ask(&test, MANY, ADMIN, &body).await;
    assert_eq!(decisions(&answer), [true, false, false, true]);
    assert!(!answer.header("rolecall-token").is_empty());
}

#[tokio::test]
async fn a_broken_item_is_denied_and_spoils_no_other() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let mut body = may_write(BOB);
    body.as_object_mut().unwrap().remove("subject");
    let bob = json!({ "subject": { "type": "user", "id": BOB } });
    body["evaluations"] = json!([{}, bob, { "subject": { "type": "user" } }, 7, bob]);
    let answer = ask(&test, MANY, ADMIN, &body).await;
    assert_eq!(decisions(&answer), [false, true, false, false, true]);
    let errors = answer.body["evaluations"].as_array().unwrap();
    let status = |i: usize| errors[i]["context"]["error"]["status"].as_u64();
    assert_eq!(
        [0, 1, 2, 3, 4].map(status),
        [Some(400), None, Some(400), Some(400), None]
    );
    assert_eq!(errors[0]["context"]["error"]["message"], "subject is missing");
}

#[tokio::test]
async fn the_semantic_says_when_to_stop() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let mut body = may_write(BOB);
    let shred = json!({ "action": { "name": "shred" } });
    body["evaluations"] = json!([{}, shred, {}]);
    for (semantic, expected) in [
        ("execute_all", vec![true, false, true]),
        ("deny_on_first_deny", vec![true, false]),
        ("permit_on_first_permit", vec![true]),
    ] {
        body["options"] = json!({ "evaluations_semantic": semantic, "other": 1 });
        let answer = ask(&test, MANY, ADMIN, &body).await;
        assert_eq!(decisions(&answer), expected, "{semantic}");
    }
    body["options"] = json!({ "evaluations_semantic": "whatever" });
    assert_eq!(ask(&test, MANY, ADMIN, &body).await.status, 400);
}

#[tokio::test]
async fn a_batch_without_items_is_a_single_evaluation() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let mut body = may_write(BOB);
    for items in [Value::Null, json!([])] {
        body["evaluations"] = items;
        let answer = ask(&test, MANY, ADMIN, &body).await;
        assert_eq!(answer.body["decision"], true, "{}", answer.text);
    }
    assert_eq!(
        ask(&test, MANY, ADMIN, &json!({ "evaluations": [] }))
            .await
            .status,
        400
    );
    body["evaluations"] = json!(vec![json!({}); 1_001]);
    assert_eq!(ask(&test, MANY, ADMIN, &body).await.status, 400);
    body["evaluations"] = json!("x");
    assert_eq!(ask(&test, MANY, ADMIN, &body).await.status, 400);
}

#[tokio::test]
async fn the_request_id_comes_back_whatever_its_form() {
    let test = TestApp::new();
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "not a uuid"] {
        let mut request = test.post(ONE, ADMIN, may_write(BOB).to_string());
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        assert_eq!(test.send(request).await.header("x-request-id"), id);
    }
}

fn decisions(answer: &Answer) -> Vec<bool> {
    let items = answer.body["evaluations"].as_array();
    let items = items.unwrap_or_else(|| panic!("{}", answer.text));
    items
        .iter()
        .map(|item| item["decision"].as_bool().unwrap())
        .collect()
}
