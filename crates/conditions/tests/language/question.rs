//! A question to evaluate conditions with.

use conditions::{Action, Attributes, Condition, Entity, Outcome};
use serde_json::{Value as Json, json};

/// An AuthZEN evaluation.
#[derive(Debug)]
pub struct Question(pub Json);

impl Question {
    /// With a bit of everything.
    pub fn usual() -> Self {
        Self(json!({
            "subject": {"type": "user", "id": "alice", "properties": {
                "role": "admin", "level": 3, "teams": ["sales", "eu"], "manager": null
            }},
            "resource": {"type": "record", "id": "record-1", "properties": {
                "status": "open", "owner": "alice", "amount": 250, "rate": 2.5, "name": "Grüße",
                "tags": ["eu", "q3"], "size": {"width": 10, "height": 20}, "created": "2026-11-01T08:00:00+01:00",
                "huge": 18446744073709551615u64, "empty": [], "lines": [{"n": 1}, {"n": 2}, {}]
            }},
            "action": {"name": "delete", "properties": {"soft": true}},
            "context": {"ip": "10.1.2.3", "mfa": true, "map": 1, "count": "12", "a-b": 7}
        }))
    }

    /// With these properties of the resource and nothing else.
    pub fn of_resource(properties: Json) -> Self {
        Self(json!({
            "subject": {"type": "user", "id": "alice"},
            "resource": {"type": "record", "id": "record-1", "properties": properties},
            "action": {"name": "read"}
        }))
    }

    pub fn attributes(&self) -> Attributes<'_> {
        let text = |pointer: &str| self.0.pointer(pointer).and_then(Json::as_str).expect("a text");
        let object = |pointer: &str| self.0.pointer(pointer).and_then(Json::as_object);
        Attributes {
            subject: Entity {
                kind: text("/subject/type"),
                id: text("/subject/id"),
                properties: object("/subject/properties"),
            },
            resource: Entity {
                kind: text("/resource/type"),
                id: text("/resource/id"),
                properties: object("/resource/properties"),
            },
            action: Action {
                name: text("/action/name"),
                properties: object("/action/properties"),
            },
            context: object("/context"),
            // A Monday.
            now: "2026-11-30T18:20:30.5Z".parse().expect("a time"),
        }
    }

    pub fn ask<'c>(&self, condition: &'c Condition) -> Outcome<'c> {
        condition.evaluate(&self.attributes())
    }
}

pub fn compile(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_else(|error| panic!("{source}\n{error}"))
}
