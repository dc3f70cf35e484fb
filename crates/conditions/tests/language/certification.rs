//! The property rules of the OpenID AuthZEN certification scenario (openid/authzen,
//! certification/authorization-api-1_0-scenario.md), written as conditions.

use conditions::Outcome;
use serde_json::{Value as Json, json};

use crate::question::{Question, compile};

fn question(subject: Json, action: Json, resource: Json) -> Question {
    Question(json!({
        "subject": {"type": "user", "id": "alice", "properties": subject},
        "action": {"name": "delete", "properties": action},
        "resource": {"type": "record", "id": "record-1", "properties": resource},
    }))
}

fn assert_outcomes(source: &str, rows: &[(Question, bool)]) {
    let condition = compile(source);
    for (question, allowed) in rows {
        assert_eq!(
            question.ask(&condition).gives(),
            *allowed,
            "{source}: {}",
            question.0
        );
    }
}

#[test]
fn the_status_of_a_resource_decides() {
    let status = |resource: Json| question(json!({}), json!({}), resource);
    assert_outcomes(
        "resource.properties.status == 'active'",
        &[
            (status(json!({"status": "active"})), true),
            (status(json!({"status": "archived"})), false),
            (status(json!({"status": null})), false),
            (status(json!({"status": ["active"]})), false),
            (status(json!({})), false),
            (status(Json::Null), false),
        ],
    );
}

#[test]
fn the_role_of_a_subject_decides() {
    let role = |subject: Json| question(subject, json!({}), json!({}));
    assert_outcomes(
        "subject.properties.role == 'admin'",
        &[
            (role(json!({"role": "admin"})), true),
            (role(json!({"role": "viewer", "admin": true})), false),
            (role(json!({"role": "Admin"})), false),
            (role(json!({})), false),
        ],
    );
}

#[test]
fn a_soft_action_is_allowed_where_a_hard_one_is_not() {
    let soft = |action: Json| question(json!({}), action, json!({}));
    assert_outcomes(
        "has(action.properties.soft) && action.properties.soft",
        &[
            (soft(json!({"soft": true})), true),
            (soft(json!({"soft": false})), false),
            (soft(json!({"soft": "true"})), false),
            (soft(json!({})), false),
        ],
    );
}

/// A denial under a condition that cannot be decided denies.
#[test]
fn a_denial_fails_closed() {
    let archived = compile("resource.properties.status == 'archived'");
    let status = |resource: Json| question(json!({}), json!({}), resource);
    assert!(!status(json!({"status": "active"})).ask(&archived).denies());
    assert!(status(json!({"status": "archived"})).ask(&archived).denies());
    let missing = status(json!({}));
    assert!(matches!(missing.ask(&archived), Outcome::Failed(_)));
    assert!(missing.ask(&archived).denies());
}
