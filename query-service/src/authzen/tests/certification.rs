//! The certification scenario of OpenID AuthZEN for policy decision points, "Authorization API 1.0 - Certification
//! Scenario" (2026), case by case under the numbers of its sections. Its `alice` and `bob` are ids of users here, which are
//! UUIDs. Cases of the Properties levels are asked too, but only the form of their answers is looked at: no right depends
//! on attributes.

use axum::body::Body;
use axum::http::{Method, Request};
use schemas::catalog::{CatalogEvent, PermissionAttached, PermissionDefined, RoleDefined};
use schemas::{PermissionId, RoleId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::search::{ACTION, RESOURCE, SUBJECT};
use super::{MANY, ONE};
use crate::testing::{ADMIN, ALICE, Answer, BOB, TestApp, catch_up, one_shard, project_grants};

const READER: RoleId = RoleId::from_uuid(Uuid::from_u128(0x5EC1));
const WRITER: RoleId = RoleId::from_uuid(Uuid::from_u128(0x5EC2));

enum Expect {
    Decision(bool),
    /// A decision, whichever.
    AnyDecision,
    Decisions(&'static [bool]),
    /// So many decisions, whichever.
    AnyDecisions(usize),
    BadRequest,
    /// At least these; the ids of Alice and Bob under their names.
    Results(&'static [&'static str]),
    /// All resources of the type, which no list could name.
    Everything,
    Nothing,
}

use Expect::{AnyDecision, AnyDecisions, BadRequest, Decision, Decisions, Everything, Nothing, Results};

type Case = (&'static str, &'static str, Value, Expect);

/// Section 2, the fixture: Alice reads and writes records, Bob reads them.
fn fixture(test: &TestApp) {
    let role = |role_id, name: &str, parent_id, permission: u128, action: &str| {
        let permission_id = PermissionId::from_uuid(Uuid::from_u128(permission));
        let defined = RoleDefined {
            role_id,
            name: name.to_owned(),
            description: None,
            parent_id,
            level: i32::from(parent_id.is_some()),
            is_system_role: false,
        };
        let permission = PermissionDefined {
            permission_id,
            name: format!("record.{action}"),
            resource: "record".to_owned(),
            action: action.to_owned(),
            description: None,
            category: None,
            is_dangerous: false,
        };
        let attached = PermissionAttached {
            role_id,
            permission_id,
        };
        for event in [
            CatalogEvent::RoleDefined(defined),
            CatalogEvent::PermissionDefined(permission),
            CatalogEvent::PermissionAttached(attached),
        ] {
            test.fed.catalog(&event);
        }
    };
    role(READER, "record-reader", None, 0x5ED1, "read");
    role(WRITER, "record-writer", Some(READER), 0x5ED2, "write");
    test.grant(ALICE, WRITER, None);
    test.grant(BOB, READER, None);
}

/// With the ids that Alice and Bob have here.
fn named(body: &Value) -> String {
    let text = body.to_string();
    let text = text.replace(r#""id":"alice""#, &format!(r#""id":"{ALICE}""#));
    text.replace(r#""id":"bob""#, &format!(r#""id":"{BOB}""#))
}

fn alice() -> Value {
    json!({ "type": "user", "id": "alice" })
}

fn bob() -> Value {
    json!({ "type": "user", "id": "bob" })
}

fn record(number: u8) -> Value {
    json!({ "type": "record", "id": format!("record-{number}") })
}

fn with(mut entity: Value, properties: Value) -> Value {
    entity["properties"] = properties;
    entity
}

fn question(subject: &Value, action: &str, resource: &Value) -> Value {
    json!({ "subject": subject, "action": { "name": action }, "resource": resource })
}

fn plus(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!() };
    body.as_object_mut().unwrap().extend(more);
    body
}

fn without(mut body: Value, path: &[&str]) -> Value {
    let (last, to) = path.split_last().unwrap();
    let parent = to.iter().fold(&mut body, |value, name| &mut value[*name]);
    parent.as_object_mut().unwrap().remove(*last).unwrap();
    body
}

fn basic() -> Vec<Case> {
    let reading = question(&alice(), "read", &record(1));
    let archived = with(record(2), json!({ "status": "archived" }));
    let deleting = |soft: bool| json!({ "name": "delete", "properties": { "soft": soft } });
    let mut cases = vec![
        ("2.2.1", ONE, reading.clone(), Decision(true)),
        (
            "2.2.2",
            ONE,
            question(&bob(), "write", &record(1)),
            Decision(false),
        ),
        (
            "2.2.3",
            ONE,
            plus(
                reading.clone(),
                json!({ "context": { "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" } }),
            ),
            Decision(true),
        ),
        ("2.2.4", ONE, question(&alice(), "write", &archived), AnyDecision),
        (
            "2.2.5",
            ONE,
            question(&with(bob(), json!({ "role": "admin" })), "write", &archived),
            AnyDecision,
        ),
        (
            "2.2.6",
            ONE,
            plus(reading.clone(), json!({ "action": deleting(true) })),
            AnyDecision,
        ),
        (
            "2.2.7",
            ONE,
            plus(reading.clone(), json!({ "action": deleting(false) })),
            Decision(false),
        ),
        (
            "2.2.8",
            ONE,
            json!({
                "subject": with(alice(), json!({ "department": "Sales", "role": "manager" })),
                "action": { "name": "read", "properties": { "method": "GET" } },
                "resource": with(record(1), json!({ "status": "active", "owner": "bob" })),
            }),
            Decision(true),
        ),
        (
            "2.2.9",
            ONE,
            plus(
                reading.clone(),
                json!({ "foo": "bar", "futureField": { "nested": true } }),
            ),
            Decision(true),
        ),
        (
            "2.4.6",
            ONE,
            plus(reading.clone(), json!({ "subject": "alice" })),
            BadRequest,
        ),
        (
            "2.4.6",
            ONE,
            plus(reading.clone(), json!({ "action": { "name": 123 } })),
            BadRequest,
        ),
    ];
    let missing = [
        &["subject"][..],
        &["action"],
        &["resource"],
        &["subject", "type"],
        &["subject", "id"],
        &["action", "name"],
        &["resource", "type"],
        &["resource", "id"],
    ];
    cases.extend(missing.map(|path| ("2.4.1, 2.4.2", ONE, without(reading.clone(), path), BadRequest)));
    // 2.6
    cases.extend([(); 3].map(|()| ("2.6", ONE, reading.clone(), Decision(true))));
    cases
}

fn batch() -> Vec<Case> {
    let archived = with(record(2), json!({ "status": "archived" }));
    let reading = question(&alice(), "read", &record(1));
    let by_alice = |action: &str| json!({ "subject": alice(), "action": { "name": action } });
    let both = json!({ "evaluations": [{ "resource": record(1) }, { "resource": record(2) }] });
    vec![
        ("3.2.1", MANY, plus(by_alice("read"), both), AnyDecisions(2)),
        (
            "3.2.2",
            MANY,
            json!({
                "subject": bob(), "resource": record(1),
                "evaluations": [{ "action": { "name": "read" } }, { "action": { "name": "write" } }],
            }),
            Decisions(&[true, false]),
        ),
        (
            "3.2.3",
            MANY,
            plus(
                by_alice("write"),
                json!({ "evaluations": [
                    { "resource": with(record(1), json!({ "status": "active" })) },
                    { "resource": archived },
                ] }),
            ),
            AnyDecisions(2),
        ),
        (
            "3.2.4",
            MANY,
            json!({
                "action": { "name": "write" }, "resource": archived,
                "evaluations": [{ "subject": alice() }, { "subject": with(bob(), json!({ "role": "admin" })) }],
            }),
            AnyDecisions(2),
        ),
        (
            "3.2.5",
            MANY,
            json!({ "evaluations": [reading, question(&bob(), "write", &record(1))] }),
            Decisions(&[true, false]),
        ),
        (
            "3.2.6",
            MANY,
            plus(
                by_alice("read"),
                json!({
                    "context": { "time": "2025-06-27T18:03-07:00" },
                    "evaluations": [
                        { "resource": record(1) },
                        {
                            "resource": record(2),
                            "context": { "time": "2025-06-27T19:00-07:00", "source": "batch-override" },
                        },
                    ],
                }),
            ),
            AnyDecisions(2),
        ),
        (
            "3.2.7",
            MANY,
            plus(
                question(&alice(), "write", &with(record(1), json!({ "status": "active" }))),
                json!({ "evaluations": [{}, { "resource": archived }] }),
            ),
            AnyDecisions(2),
        ),
        (
            "3.4.1",
            MANY,
            plus(
                by_alice("read"),
                json!({
                    "options": { "evaluations_semantic": "execute_all" },
                    "evaluations": [{ "resource": record(1) }, {}],
                }),
            ),
            Decisions(&[true, false]),
        ),
        ("3.4.2", MANY, reading.clone(), Decision(true)),
        (
            "3.4.3",
            MANY,
            plus(reading, json!({ "evaluations": [] })),
            Decision(true),
        ),
    ]
}

fn searches() -> Vec<Case> {
    let user = || json!({ "type": "user" });
    let of_type = || json!({ "type": "record" });
    let context = || json!({ "context": { "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" } });
    let archived = || with(record(2), json!({ "status": "archived" }));
    let admin = || with(bob(), json!({ "role": "admin" }));
    let who = question(&user(), "read", &record(1));
    let which = question(&alice(), "read", &of_type());
    let what = json!({ "subject": alice(), "resource": record(1) });
    let readers = || Results(&["alice", "bob"]);
    vec![
        ("4.2.1", SUBJECT, who.clone(), readers()),
        ("4.2.2", SUBJECT, plus(who.clone(), context()), readers()),
        (
            "4.2.3",
            SUBJECT,
            question(&alice(), "read", &record(1)),
            readers(),
        ),
        // Whoever may whatever the attributes are: Alice.
        (
            "4.2.4",
            SUBJECT,
            question(&user(), "write", &archived()),
            Results(&["alice"]),
        ),
        ("4.3.1", RESOURCE, which.clone(), Everything),
        ("4.3.2", RESOURCE, plus(which, context()), Everything),
        (
            "4.3.3",
            RESOURCE,
            question(&alice(), "read", &record(1)),
            Everything,
        ),
        (
            "4.3.4",
            RESOURCE,
            question(&admin(), "write", &of_type()),
            Nothing,
        ),
        ("4.4.1", ACTION, what.clone(), Results(&["read", "write"])),
        (
            "4.4.2",
            ACTION,
            plus(what.clone(), context()),
            Results(&["read", "write"]),
        ),
        (
            "4.4.3",
            ACTION,
            json!({ "subject": admin(), "resource": archived() }),
            Results(&["read"]),
        ),
        (
            "4.6.1",
            ACTION,
            json!({ "subject": { "type": "user", "id": "nonexistent-user" }, "resource": record(1) }),
            Nothing,
        ),
        (
            "4.6.2",
            SUBJECT,
            question(&json!({ "type": "spaceship" }), "read", &record(1)),
            Nothing,
        ),
        (
            "4.7.1",
            SUBJECT,
            json!({ "subject": user(), "resource": record(1) }),
            BadRequest,
        ),
        (
            "4.7.1",
            RESOURCE,
            json!({ "action": { "name": "read" }, "resource": of_type() }),
            BadRequest,
        ),
        ("4.7.1", ACTION, json!({ "subject": alice() }), BadRequest),
        (
            "4.7.2",
            SUBJECT,
            question(&user(), "read", &of_type()),
            BadRequest,
        ),
        (
            "4.7.2",
            RESOURCE,
            question(&user(), "read", &of_type()),
            BadRequest,
        ),
        (
            "4.7.2",
            ACTION,
            json!({ "subject": user(), "resource": record(1) }),
            BadRequest,
        ),
    ]
}

/// By somebody who may ask about everybody.
async fn ask(test: &TestApp, path: &str, body: &Value) -> Answer {
    test.send(test.post(path, ADMIN, named(body))).await
}

fn check(section: &str, answer: &Answer, expect: &Expect) {
    let text = &answer.text;
    if matches!(expect, BadRequest) {
        assert_eq!(answer.status, 400, "{section}: {text}");
        assert!(
            answer.header("content-type").starts_with("text/plain"),
            "{section}"
        );
        return;
    }
    assert_eq!(answer.status, 200, "{section}: {text}");
    assert_eq!(answer.header("content-type"), "application/json", "{section}");
    let decision = |of: &Value| {
        assert!(
            of.get("context").is_none_or(Value::is_object),
            "{section}: {text}"
        );
        of["decision"]
            .as_bool()
            .unwrap_or_else(|| panic!("{section}: no decision in {text}"))
    };
    let decisions = || {
        let each = answer.body["evaluations"].as_array();
        let each = each.unwrap_or_else(|| panic!("{section}: no evaluations in {text}"));
        assert!(answer.body.get("decision").is_none(), "{section}: {text}");
        each.iter().map(decision).collect::<Vec<_>>()
    };
    match expect {
        Decision(expected) => assert_eq!(decision(&answer.body), *expected, "{section}: {text}"),
        AnyDecision => {
            decision(&answer.body);
        }
        Decisions(expected) => assert_eq!(decisions(), *expected, "{section}: {text}"),
        AnyDecisions(count) => assert_eq!(decisions().len(), *count, "{section}: {text}"),
        Results(expected) => {
            let found = results(section, answer);
            assert!(
                expected.iter().all(|it| found.contains(&(*it).to_owned())),
                "{section}: {text}"
            );
        }
        Everything => {
            assert_eq!(results(section, answer), [""; 0], "{section}");
            assert_eq!(answer.body["context"]["all"], true, "{section}: {text}");
        }
        Nothing => {
            assert_eq!(results(section, answer), [""; 0], "{section}");
            assert_eq!(answer.body.get("context"), None, "{section}: {text}");
        }
        BadRequest => {}
    }
}

/// Names of actions, and of those whom the scenario names.
fn results(section: &str, answer: &Answer) -> Vec<String> {
    let found = answer.body["results"].as_array();
    let found = found.unwrap_or_else(|| panic!("{section}: no results in {}", answer.text));
    let name = |result: &Value| {
        if let Some(name) = result.get("name") {
            return name.as_str().unwrap().to_owned();
        }
        assert_eq!(result["type"], "user", "{section}");
        let id = result["id"].as_str().unwrap();
        let known = [(ALICE, "alice"), (BOB, "bob")];
        let named = known.iter().find(|(user, _)| user.to_string() == id);
        named.map_or_else(|| id.to_owned(), |(_, name)| (*name).to_owned())
    };
    found.iter().map(name).collect()
}

#[tokio::test]
async fn searches_pass_the_certification_scenario() {
    let (stack, dsn, pool) = one_shard().await;
    let test = TestApp::with_shard(&dsn, None);
    fixture(&test);
    project_grants(&pool, &test, &[ALICE], WRITER).await;
    project_grants(&pool, &test, &[BOB], READER).await;
    catch_up(&pool, &test).await;
    for (section, path, body, expect) in searches() {
        check(section, &ask(&test, path, &body).await, &expect);
    }
    // 4.5
    let mut body = question(&json!({ "type": "user" }), "read", &record(1));
    body["page"] = json!({ "limit": 1 });
    let first = ask(&test, SUBJECT, &body).await;
    let next = first.body["page"]["next_token"].as_str().unwrap();
    body["page"] = json!({ "token": next });
    let second = ask(&test, SUBJECT, &body).await;
    assert_eq!(second.body["page"]["next_token"], "");
    let mut found = results("4.5.1", &first);
    found.extend(results("4.5.2", &second));
    found.sort();
    assert_eq!(found, ["alice", "bob"]);
    stack.shutdown().await.unwrap();
}

#[tokio::test]
async fn evaluations_pass_the_certification_scenario() {
    let test = TestApp::new();
    fixture(&test);
    for (section, path, body, expect) in basic().into_iter().chain(batch()) {
        check(section, &ask(&test, path, &body).await, &expect);
    }
}

#[tokio::test]
async fn transport_passes_the_certification_scenario() {
    let test = TestApp::new();
    fixture(&test);
    let reading = named(&question(&alice(), "read", &record(1)));
    // 2.4.3
    let mut request = test.post(ONE, ADMIN, reading.clone());
    request
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    check("2.4.3", &test.send(request).await, &BadRequest);
    for broken in ["{", "", "{\"subject\": ", "nonsense"] {
        let answer = test.send(test.post(ONE, ADMIN, broken)).await;
        check("2.4.4, 2.4.5", &answer, &BadRequest);
    }
    // 2.5
    for id in ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "any form"] {
        let mut request = test.post(ONE, ADMIN, reading.clone());
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        assert_eq!(test.send(request).await.header("x-request-id"), id);
    }
    let answer = test.send(test.post(ONE, ADMIN, reading)).await;
    check("2.5.2", &answer, &Decision(true));
}

/// Section 6.
#[tokio::test]
async fn discovery_passes_the_certification_scenario() {
    let test = TestApp::new();
    let request = Request::builder()
        .method(Method::GET)
        .uri("/.well-known/authzen-configuration");
    let answer = test.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let base = "https://pdp.example.org";
    let expected = json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{base}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{base}/access/v1/search/resource"),
        "search_action_endpoint": format!("{base}/access/v1/search/action"),
    });
    assert_eq!(answer.body, expected);
    assert!(answer.header("cache-control").contains("max-age"));
}
