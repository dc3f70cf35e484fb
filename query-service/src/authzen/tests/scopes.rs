//! Grants that are limited to some resources, as checks and searches see them.

use schemas::user::{RoleGranted, UserEvent};
use schemas::{GrantScope, RoleId};
use serde_json::{Value, json};

use super::{ONE, ask, may_write};
use crate::testing::{ADMIN, ALICE, EDITOR, TestApp};

const RESOURCE: &str = "/access/v1/search/resource";

fn grant(test: &TestApp, role_id: RoleId, resource: &str, id: Option<&str>, is_prefix: bool) {
    let scope = GrantScope {
        resource: resource.to_owned(),
        id: id.map(ToOwned::to_owned),
        is_prefix,
    };
    let granted = RoleGranted {
        scope: Some(scope),
        ..RoleGranted::of(role_id)
    };
    test.fed.user(ALICE, &UserEvent::RoleGranted(granted));
}

/// What the search finds, and what it says besides.
async fn found(test: &TestApp) -> (Value, Value) {
    let body = json!({
        "subject": { "type": "user", "id": ALICE },
        "action": { "name": "write" },
        "resource": { "type": "document", "id": "ignored" },
        "page": { "limit": 2 },
    });
    let (mut results, mut body) = (Vec::new(), body);
    loop {
        let answer = ask(test, RESOURCE, ADMIN, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.body["results"].as_array().unwrap();
        results.extend(page.iter().map(|result| result["id"].clone()));
        let next = answer.body["page"]["next_token"].as_str().unwrap();
        if next.is_empty() {
            return (json!(results), answer.body["context"].clone());
        }
        body["page"] = json!({ "token": next });
    }
}

async fn answer(test: &TestApp, id: &str) -> (bool, String) {
    let mut question = may_write(ALICE);
    question["resource"]["id"] = id.into();
    let answer = ask(test, ONE, ADMIN, &question).await;
    let reason = answer.body["context"]["reason"].as_str().unwrap();
    (answer.body["decision"].as_bool().unwrap(), reason.to_owned())
}

#[tokio::test]
async fn a_limited_grant_counts_within_its_scope_alone() {
    let test = TestApp::new();
    for id in ["7", "8", "9"] {
        grant(&test, EDITOR, "document", Some(id), false);
    }
    grant(&test, EDITOR, "document", Some("eu/"), true);
    grant(&test, EDITOR, "letter", Some("1"), false);
    for (id, allowed, reason) in [
        ("7", true, "granted"),
        ("eu/1", true, "granted"),
        ("eu", false, "out_of_scope"),
        ("1", false, "out_of_scope"),
    ] {
        assert_eq!(answer(&test, id).await, (allowed, reason.to_owned()), "{id}");
    }
    let prefixes = json!({ "prefixes": ["eu/"] });
    assert_eq!(found(&test).await, (json!(["7", "8", "9"]), prefixes));
}

#[tokio::test]
async fn a_grant_for_a_whole_type_is_one_for_all_its_resources() {
    let test = TestApp::new();
    grant(&test, EDITOR, "letter", None, false);
    assert_eq!(answer(&test, "1").await, (false, "out_of_scope".to_owned()));
    assert_eq!(found(&test).await, (json!([]), Value::Null));
    grant(&test, EDITOR, "document", None, false);
    assert_eq!(answer(&test, "1").await, (true, "granted".to_owned()));
    assert_eq!(found(&test).await, (json!([]), json!({ "all": true })));
}
