//! Whatever the source and the attributes, nothing panics, overflows the stack or takes long. The same property, with
//! sources that are made up by rules, is in tests/language/hostile.rs.

#![no_main]

use conditions::{Action, Attributes, Condition, Entity};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|data: (&str, &str)| {
    let (source, json) = data;
    let Ok(condition) = Condition::compile(source) else {
        return;
    };
    let attributes: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let entity = Entity {
        kind: "user",
        id: "alice",
        properties: Some(&attributes),
    };
    condition.evaluate(&Attributes {
        subject: entity,
        resource: entity,
        action: Action {
            name: "read",
            properties: Some(&attributes),
        },
        context: Some(&attributes),
        now: chrono::DateTime::UNIX_EPOCH,
    });
});
