//! Bodies of evaluation requests, borrowed from the bytes they came in. Members that AuthZEN or
//! Rolecall does not know are ignored.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
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
    #[serde(borrow, default, deserialize_with = "object")]
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

impl<'a> Resource<'a> {
    pub const fn new(kind: Cow<'a, str>, id: Cow<'a, str>) -> Self {
        Self { kind, _id: id }
    }
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
    #[serde(borrow, default, deserialize_with = "object")]
    pub subject: Option<Subject<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub action: Option<Action<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub resource: Option<Resource<'a>>,
    #[schema(value_type = Option<Object>)]
    pub context: Option<Context>,
}

/// Several questions, with defaults for what each leaves out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Batch<'a> {
    #[serde(borrow, default, deserialize_with = "object")]
    subject: Option<Subject<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    action: Option<Action<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    resource: Option<Resource<'a>>,
    #[schema(value_type = Option<Object>)]
    context: Option<Context>,
    /// Unread: a broken one must spoil its own answer only.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<Evaluation<'static>>>)]
    pub evaluations: Option<Vec<&'a RawValue>>,
    #[serde(default, deserialize_with = "object")]
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

/// An object of JSON. What serde derives takes an array for one too: its elements for the members, in their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// A member that is an object, or null.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let found = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(found.map(|Object(members)| members))
}

pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Plain> {
    let parsed = serde_json::from_slice(body).map(|Object(members)| members);
    parsed.map_err(|error| Plain::bad_request(explain(&error)))
}

/// An item of a batch; the error says what is wrong with it.
pub fn parse_item(item: &str) -> Result<Evaluation<'_>, String> {
    let parsed = serde_json::from_str(item).map(|Object(members)| members);
    parsed.map_err(|error| explain(&error))
}

/// The parser's message without what of the caller's own text is too long to repeat.
fn explain(error: &serde_json::Error) -> String {
    error.to_string().chars().take(ECHO).collect()
}
