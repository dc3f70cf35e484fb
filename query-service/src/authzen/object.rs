//! Objects of JSON, where nothing else may stand.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use service_kit::problem::{Problem, ProblemType};

/// What a message may repeat of the caller's own input.
const ECHO: usize = 200;

/// What serde derives takes an array for an object too: its elements for the members, in their order.
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

/// A member that is an object.
pub fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(members)| members)
}

/// A member that is an object, or null.
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let found = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(found.map(|Object(members)| members))
}

/// A whole body.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| bad_request("the body is not UTF-8"))?;
    parse_text(text).map_err(bad_request)
}

/// The error says what is wrong with it, without what of the caller's own text is too long to repeat.
pub fn parse_text<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let parsed = serde_json::from_str(text).map(|Object(members)| members);
    parsed.map_err(|error| error.to_string().chars().take(ECHO).collect())
}

/// 400 with this message.
pub fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(ProblemType::InvalidBody).detail(message.into())
}
