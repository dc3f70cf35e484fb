//! What a condition is evaluated with: a question of the AuthZEN Authorization API 1.0 and the time.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

/// The question. Properties and context are JSON as its sender wrote it; absent ones are empty.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub subject: Entity<'a>,
    pub resource: Entity<'a>,
    pub action: Action<'a>,
    pub context: Option<&'a Map<String, Json>>,
    /// The moment of the decision, `now` in a condition.
    pub now: DateTime<Utc>,
}

/// A subject or a resource.
#[derive(Clone, Copy, Debug)]
pub struct Entity<'a> {
    /// `type` in a condition.
    pub kind: &'a str,
    pub id: &'a str,
    pub properties: Option<&'a Map<String, Json>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    pub name: &'a str,
    pub properties: Option<&'a Map<String, Json>>,
}
