//! Searches that no shard is asked for.

use serde_json::{Value, json};

use super::ask;
use crate::testing::{ADMIN, ALICE, BOB, EDITOR, NOBODY, TestApp};

pub const SUBJECT: &str = "/access/v1/search/subject";
pub const RESOURCE: &str = "/access/v1/search/resource";
pub const ACTION: &str = "/access/v1/search/action";

/// What Bob may do with a document, who may write it, and what he may write.
fn about_bob() -> Value {
    json!({
        "subject": { "type": "user", "id": BOB },
        "action": { "name": "write" },
        "resource": { "type": "document", "id": "1" },
    })
}

fn page(next_token: &str, count: usize) -> Value {
    json!({ "next_token": next_token, "count": count })
}

/// Somebody with all rights of Rolecall, which are many.
fn about_admin() -> Value {
    let mut body = about_bob();
    body["subject"]["id"] = json!(ADMIN);
    body["resource"]["type"] = json!("rolecall");
    body
}

#[tokio::test]
async fn actions_are_those_that_an_evaluation_allows() {
    let test = TestApp::new();
    let answer = ask(&test, ACTION, ADMIN, &about_bob()).await;
    let none = json!({ "page": { "next_token": "", "count": 0, "total": 0 }, "results": [] });
    assert_eq!((answer.status, &answer.body), (200, &none));
    test.grant(BOB, EDITOR, None);
    let answer = ask(&test, ACTION, ADMIN, &about_bob()).await;
    let one =
        json!({ "page": { "next_token": "", "count": 1, "total": 1 }, "results": [{ "name": "write" }] });
    assert_eq!(answer.body, one);
    assert_eq!(answer.header("rolecall-token"), test.app.basis(BOB).to_string());
    // The page stands before what it tells of.
    assert!(answer.text.starts_with(r#"{"page":"#), "{}", answer.text);

    let answer = ask(&test, ACTION, ADMIN, &about_admin()).await;
    let names: Vec<_> = answer.body["results"].as_array().unwrap().iter().collect();
    assert!(names.len() > 10, "{}", answer.text);
    for found in names {
        let mut question = about_admin();
        question["action"] = found.clone();
        let answer = ask(&test, super::ONE, ADMIN, &question).await;
        assert_eq!(answer.body["decision"], true, "{found}");
    }
}

#[tokio::test]
async fn pages_are_together_what_one_page_is() {
    let test = TestApp::new();
    let whole = ask(&test, ACTION, ADMIN, &about_admin()).await;
    let all = whole.body["results"].as_array().unwrap().clone();
    for limit in [1, 3, all.len() - 1, all.len(), 1_000, usize::MAX] {
        let mut body = about_admin();
        body["page"] = json!({ "limit": limit });
        let mut found: Vec<Value> = Vec::new();
        for requests in 1.. {
            let answer = ask(&test, ACTION, ADMIN, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let results = answer.body["results"].as_array().unwrap();
            let page = &answer.body["page"];
            assert_eq!(
                (&page["count"], &page["total"]),
                (&json!(results.len()), &json!(all.len()))
            );
            assert!(results.len() <= limit);
            found.extend(results.iter().cloned());
            let next = page["next_token"].as_str().unwrap();
            if next.is_empty() {
                assert_eq!(requests, all.len().div_ceil(limit));
                break;
            }
            // A limit is not said again.
            body["page"] = json!({ "token": next });
        }
        assert_eq!(found, all, "{limit}");
    }
}

#[tokio::test]
async fn a_limit_of_nothing_tells_whether_there_is_something() {
    let test = TestApp::new();
    let mut body = about_admin();
    body["page"] = json!({ "limit": 0 });
    let answer = ask(&test, ACTION, ADMIN, &body).await;
    assert_eq!(answer.body["results"], json!([]));
    let next = answer.body["page"]["next_token"].as_str().unwrap();
    assert!(!next.is_empty());
    body["page"] = json!({ "token": next, "limit": 0 });
    assert_eq!(ask(&test, ACTION, ADMIN, &body).await.status, 200);
    let mut body = about_bob();
    body["page"] = json!({ "limit": 0 });
    let answer = ask(&test, ACTION, ADMIN, &body).await;
    assert_eq!(answer.body["page"]["next_token"], "");
}

#[tokio::test]
async fn a_page_belongs_to_one_search() {
    let test = TestApp::new();
    let mut first = about_admin();
    first["context"] = json!({ "b": [1, 2], "a": { "y": 1, "x": 2 } });
    first["subject"]["properties"] = json!({ "dept": 1 });
    first["page"] = json!({ "limit": 2 });
    let answer = ask(&test, ACTION, ADMIN, &first).await;
    let next = answer.body["page"]["next_token"].as_str().unwrap().to_owned();
    let mut follows = first.clone();
    follows["page"] = json!({ "token": next, "limit": 2 });
    assert_eq!(ask(&test, ACTION, ADMIN, &follows).await.status, 200);
    // In another order, with members that are not known and what is ignored: the same.
    let mut text = follows.to_string();
    text = text.replace(
        r#""a":{"x":2,"y":1},"b":[1,2]"#,
        r#""b": [1, 2], "a": {"y": 1, "x": 2}"#,
    );
    text = text.replace(r#""action":{"name":"write"}"#, r#""other":1"#);
    assert_ne!(text, follows.to_string());
    assert_eq!(test.send(test.post(ACTION, ADMIN, text)).await.status, 200);

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = follows.clone();
        change(&mut body);
        body
    };
    for (what, body) in [
        ("subject", changed(&|body| body["subject"]["id"] = json!(BOB))),
        (
            "subject's properties",
            changed(&|body| body["subject"]["properties"]["dept"] = json!(2)),
        ),
        ("resource", changed(&|body| body["resource"]["id"] = json!("2"))),
        ("context", changed(&|body| body["context"]["b"] = json!([2, 1]))),
        ("no context", changed(&|body| body["context"] = Value::Null)),
        ("limit", changed(&|body| body["page"]["limit"] = json!(3))),
    ] {
        let answer = ask(&test, ACTION, ADMIN, &body).await;
        assert_eq!(answer.status, 400, "{what}");
    }
    for path in [SUBJECT, RESOURCE] {
        assert_eq!(ask(&test, path, ADMIN, &follows).await.status, 400, "{path}");
    }
    let longer = format!("{next}AAAA");
    for token in [
        "",
        "p1.",
        "p1.AAAA",
        "p1.!",
        "p2.AAAA",
        "next",
        next.trim_start_matches("p1."),
        &longer,
    ] {
        let mut body = follows.clone();
        body["page"]["token"] = json!(token);
        let answer = ask(&test, ACTION, ADMIN, &body).await;
        assert_eq!(answer.status, 400, "{token}");
        assert!(answer.text.contains("page.token"), "{}", answer.text);
    }
    for limit in [json!(-1), json!(1.5), json!("1"), json!([])] {
        let mut body = first.clone();
        body["page"] = json!({ "limit": limit });
        assert_eq!(ask(&test, ACTION, ADMIN, &body).await.status, 400, "{limit}");
    }
    for page in [json!([]), json!("next"), json!(1)] {
        let mut body = first.clone();
        body["page"] = page;
        assert_eq!(ask(&test, ACTION, ADMIN, &body).await.status, 400);
    }
}

#[tokio::test]
async fn resources_of_a_type_are_allowed_together_or_not_at_all() {
    let test = TestApp::new();
    let answer = ask(&test, RESOURCE, ADMIN, &about_bob()).await;
    assert_eq!(answer.body, json!({ "page": page("", 0), "results": [] }));
    test.grant(BOB, EDITOR, None);
    let answer = ask(&test, RESOURCE, ADMIN, &about_bob()).await;
    let all = json!({ "page": page("", 0), "context": { "all": true }, "results": [] });
    assert_eq!(answer.body, all);
    // An id is ignored, whatever it is.
    for id in [json!("2"), json!(7), json!(["a"]), Value::Null] {
        let mut body = about_bob();
        body["resource"]["id"] = id;
        assert_eq!(ask(&test, RESOURCE, ADMIN, &body).await.body, all);
    }
    let mut body = about_bob();
    body["resource"].as_object_mut().unwrap().remove("id");
    body["page"] = json!({ "limit": 1 });
    assert_eq!(ask(&test, RESOURCE, ADMIN, &body).await.body, all);
}

#[tokio::test]
async fn what_is_not_known_is_not_found() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    for path in [SUBJECT, RESOURCE, ACTION] {
        for (part, member, value) in [
            ("subject", "type", json!("spaceship")),
            ("resource", "type", json!("spaceship")),
            ("subject", "id", json!(NOBODY)),
            ("subject", "id", json!("bob@example.org")),
            ("action", "name", json!("shred")),
        ] {
            // Ignored where it is what is searched for.
            let ignored = match member {
                "id" => path == SUBJECT,
                _ => part == "action" && path == ACTION,
            };
            if ignored {
                continue;
            }
            let mut body = about_bob();
            body[part][member] = value;
            let answer = ask(&test, path, ADMIN, &body).await;
            assert_eq!(answer.status, 200, "{path} {part}: {}", answer.text);
            assert_eq!(answer.body["results"], json!([]));
            assert_eq!(answer.body["page"]["next_token"], "");
            assert_eq!(answer.body.get("context"), None);
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let test = TestApp::new();
    for (path, parts) in [
        (SUBJECT, &["subject", "action", "resource"][..]),
        (RESOURCE, &["subject", "action", "resource"]),
        (ACTION, &["subject", "resource"]),
    ] {
        for part in parts {
            for broken in [
                None,
                Some(Value::Null),
                Some(json!([])),
                Some(json!("a")),
                Some(json!({})),
            ] {
                let mut body = about_bob();
                body.as_object_mut().unwrap().remove(*part);
                if let Some(broken) = &broken {
                    body[*part] = broken.clone();
                }
                let answer = ask(&test, path, ADMIN, &body).await;
                assert_eq!(answer.status, 400, "{path} {part} {broken:?}");
            }
        }
    }
    for (path, part) in [
        (SUBJECT, "resource"),
        (RESOURCE, "subject"),
        (ACTION, "subject"),
        (ACTION, "resource"),
    ] {
        let mut body = about_bob();
        body[part].as_object_mut().unwrap().remove("id");
        let answer = ask(&test, path, ADMIN, &body).await;
        assert_eq!(answer.status, 400, "{path} {part}");
        assert!(answer.text.contains("`id`"), "{}", answer.text);
    }
}

#[tokio::test]
async fn only_permitted_callers_search_among_others() {
    let test = TestApp::new();
    test.grant(ALICE, EDITOR, None);
    let mut own = about_bob();
    own["subject"]["id"] = json!(ALICE);
    for path in [RESOURCE, ACTION] {
        assert_eq!(ask(&test, path, ALICE, &about_bob()).await.status, 403, "{path}");
        assert_eq!(ask(&test, path, ALICE, &own).await.status, 200, "{path}");
    }
    // Whoever is named is ignored there.
    assert_eq!(ask(&test, SUBJECT, ALICE, &own).await.status, 403);
}

#[tokio::test]
async fn a_shard_that_is_down_and_a_ledger_that_lags_fail_the_search() {
    let test = TestApp::new();
    test.grant(BOB, EDITOR, None);
    let answer = ask(&test, SUBJECT, ADMIN, &about_bob()).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.header("content-type").starts_with("text/plain"));
    // What nobody may needs no shard.
    let mut body = about_bob();
    body["action"]["name"] = json!("shred");
    assert_eq!(ask(&test, SUBJECT, ADMIN, &body).await.status, 200);

    let carol = test.elsewhere();
    let mut about_carol = about_bob();
    about_carol["subject"]["id"] = json!(carol);
    test.fed.lag(test.app.node.ledger(carol));
    for path in [RESOURCE, ACTION] {
        assert_eq!(ask(&test, path, ADMIN, &about_carol).await.status, 503, "{path}");
    }
}
