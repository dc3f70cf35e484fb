//! Bodies of evaluation requests, borrowed from the bytes they came in. Members that AuthZEN or
//! Rolecall does not know are ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Plain;

/// What a message may repeat of the caller's own input.
const ECHO: usize = 200;

/// Who wants to do it: a user or a service account, by id.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Subject<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "user")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = String, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub properties: Option<SubjectProperties<'a>>,
}

/// What narrows a subject.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct SubjectProperties<'a> {
    /// With this key of the service account: only what the key is for counts. `jti` of its introspection.
    #[serde(borrow)]
    #[schema(value_type = Option<Uuid>)]
    pub key_id: Option<Cow<'a, str>>,
}

/// What they want to do.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Action<'a> {
    #[serde(borrow)]
    #[schema(value_type = String, example = "read")]
    pub name: Cow<'a, str>,
}

/// What they want to do it with; rights are by type, so the id is not looked at.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Resource<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "invoice")]
    pub kind: Cow<'a, str>,
    #[serde(borrow, rename = "id")]
    #[schema(value_type = String, example = "2026-0042")]
    _id: Cow<'a, str>,
}

/// Some JSON object; decisions do not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Context;

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyObject;
        impl<'de> Visitor<'de> for AnyObject {
            type Value = Context;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Context, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Context)
            }
        }
        deserializer.deserialize_map(AnyObject)
    }
}

/// One question; in a batch, what it leaves out is taken from the batch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Evaluation<'a> {
    #[serde(borrow)]
    pub subject: Option<Subject<'a>>,
    #[serde(borrow)]
    pub action: Option<Action<'a>>,
    #[serde(borrow)]
    pub resource: Option<Resource<'a>>,
    #[schema(value_type = Option<Object>)]
    pub context: Option<Context>,
}

/// Several questions, with defaults for what each leaves out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Batch<'a> {
    #[serde(borrow)]
    subject: Option<Subject<'a>>,
    #[serde(borrow)]
    action: Option<Action<'a>>,
    #[serde(borrow)]
    resource: Option<Resource<'a>>,
    #[schema(value_type = Option<Object>)]
    context: Option<Context>,
    /// Unread: a broken one must spoil its own answer only.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<Evaluation<'static>>>)]
    pub evaluations: Option<Vec<&'a RawValue>>,
    pub options: Option<Options>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub struct Options {
    #[serde(default)]
    pub evaluations_semantic: Semantic,
}

/// When to stop evaluating.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    pub const fn stops_after(self, allowed: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !allowed,
            Self::PermitOnFirstPermit => allowed,
        }
    }
}

impl<'a> Batch<'a> {
    pub fn semantic(&self) -> Semantic {
        self.options.unwrap_or_default().evaluations_semantic
    }

    /// The members that items fall back to; without items, the one question itself.
    pub fn into_defaults(self) -> Evaluation<'a> {
        let Self {
            subject,
            action,
            resource,
            context,
            ..
        } = self;
        Evaluation {
            subject,
            action,
            resource,
            context,
        }
    }
}

pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Plain> {
    serde_json::from_slice(body).map_err(|error| Plain::bad_request(explain(&error)))
}

/// The parser's message without what of the caller's own text is too long to repeat.
pub fn explain(error: &serde_json::Error) -> String {
    error.to_string().chars().take(ECHO).collect()
}
