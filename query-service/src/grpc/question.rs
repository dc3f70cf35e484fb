//! What a message asks, in the words of AuthZEN.

use std::borrow::Cow;

use access_proto::v1::{CheckRequest, Consistency};
use schemas::LogId;
use serde::Deserialize;
use service_kit::at_least::AtLeast;
use service_kit::problem::{Problem, ProblemType};

use crate::authzen::{Action, Evaluation, Question, Resource, Subject};

/// # Errors
/// Names the field that is missing, or is no JSON object. In a message of this form, an empty text is a missing one.
pub fn question(asked: &CheckRequest) -> Result<Question<'_>, Problem> {
    let subject = part("subject", asked.subject.as_ref())?;
    let action = part("action", asked.action.as_ref())?;
    let resource = part("resource", asked.resource.as_ref())?;
    let subject = Subject {
        kind: text("subject.type", &subject.r#type)?,
        id: text("subject.id", &subject.id)?,
        properties: object("subject.properties", &subject.properties)?,
    };
    let evaluation = Evaluation {
        subject: Some(subject),
        action: Some(Action {
            name: text("action.name", &action.name)?,
            properties: object("action.properties", &action.properties)?,
        }),
        resource: Some(Resource {
            kind: text("resource.type", &resource.r#type)?,
            id: text("resource.id", &resource.id)?,
            properties: object("resource.properties", &resource.properties)?,
        }),
        context: object("context", &asked.context)?,
    };
    Question::of(evaluation).map_err(|missing| Problem::new(ProblemType::InvalidBody).detail(missing))
}

pub fn at_least(asked: Option<&Consistency>, log_id: LogId) -> Result<AtLeast, Problem> {
    let mut wanted = AtLeast::default();
    let Some(asked) = asked else {
        return Ok(wanted);
    };
    wanted.latest = asked.latest;
    for token in &asked.at_least {
        wanted.add(token, log_id)?;
    }
    Ok(wanted)
}

fn part<'a, T>(field: &'static str, part: Option<&'a T>) -> Result<&'a T, Problem> {
    part.ok_or_else(|| wrong(field, "is missing"))
}

fn text<'a>(field: &'static str, text: &'a str) -> Result<Cow<'a, str>, Problem> {
    match text {
        "" => Err(wrong(field, "is missing")),
        text => Ok(Cow::Borrowed(text)),
    }
}

/// Nothing where there is no text. What serde derives would take an array for an object too.
fn object<'a, T: Deserialize<'a>>(field: &'static str, json: &'a str) -> Result<Option<T>, Problem> {
    if json.is_empty() {
        return Ok(None);
    }
    if !json.trim_start().starts_with('{') {
        return Err(wrong(field, "is no JSON object"));
    }
    let parsed = serde_json::from_str(json).map(Some);
    parsed.map_err(|error| wrong(field, format!("is not valid: {error}")))
}

fn wrong(field: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::InvalidBody).field(field, detail)
}
