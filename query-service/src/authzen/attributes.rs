//! Attributes that callers send along: any object of JSON, within bounds.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use schemas::KeyId;
use serde::de::{self, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Objects and arrays within each other at most.
pub const MAX_DEPTH: usize = 32;

/// An object as it was sent. On no level has it a name twice, so that everybody reads the same out of it; written
/// again, it is the same text for the same content.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'a RawValue>::deserialize(deserializer)?;
        // Skipped so far, which takes no stack however deep it is.
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        let checked = reader.deserialize_map(Bounded { left: MAX_DEPTH });
        checked.map_err(|error| D::Error::custom(without_place(&error)))?;
        Ok(Self(raw))
    }
}

/// Lines and columns within the object alone would mislead.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value: Value = serde_json::from_str(self.0.get()).map_err(ser::Error::custom)?;
        value.sort_all_objects();
        value.serialize(serializer)
    }
}

/// Attributes of a subject, and what Rolecall itself knows of among them.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct SubjectProperties<'a> {
    #[schema(ignore)]
    all: Attributes<'a>,
    /// With this key of the service account: only what the key is for counts. `jti` of its introspection.
    #[schema(rename = "key_id", value_type = Option<Uuid>)]
    pub key: Option<AskedKey>,
}

/// The key that a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedKey {
    Of(KeyId),
    /// Something that names no key of ours: an attribute that callers may have for themselves.
    Unknown,
}

impl<'de: 'a, 'a> Deserialize<'de> for SubjectProperties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Known {
            key_id: Option<Value>,
        }
        let all = Attributes::deserialize(deserializer)?;
        let known: Known = serde_json::from_str(all.0.get()).map_err(de::Error::custom)?;
        let key = known.key_id.map(|id| {
            let id = id.as_str().and_then(|id| id.parse().ok());
            id.map_or(AskedKey::Unknown, AskedKey::Of)
        });
        Ok(Self { all, key })
    }
}

impl Serialize for SubjectProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(serializer)
    }
}

/// Accepts any value that is not too deep and in which no object has a name twice.
#[derive(Clone, Copy)]
struct Bounded {
    left: usize,
}

impl Bounded {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")))?;
        Ok(Self { left })
    }
}

#[derive(PartialEq, Eq, Hash, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Attributes<'_>, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn objects_pass_within_bounds_and_nothing_else_does() {
        for good in [
            "{}",
            r#" {"a": [1, -2, 0.5, 1e300, null, true, "\u00e4"], "b": {"a": {}}} "#,
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("7", "expected an object"),
            ("[]", "expected an object"),
            (r#""text""#, "expected an object"),
            ("{", "EOF"),
            (r#"{"a": 1, "\u0061": 2}"#, "a name stands twice"),
            (r#"{"b": [{"a": 1, "a": 1}]}"#, "a name stands twice"),
            (r#"{"a": "\ud800"}"#, "hex escape"),
            (r#"{"a": 1e999}"#, "out of range"),
        ] {
            let message = read(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }

    #[test]
    fn nesting_is_bounded_however_deep_it_is() {
        let nested = |levels: usize| {
            let arrays = levels - 1;
            format!(r#"{{"a": {}{}}}"#, "[".repeat(arrays), "]".repeat(arrays))
        };
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        for levels in [MAX_DEPTH + 1, 100, 1_000, 100_000] {
            let message = read(&nested(levels)).unwrap_err();
            assert!(message.contains("nested deeper than 32 levels"), "{message}");
        }
    }

    #[test]
    fn the_same_content_is_written_as_the_same_text() {
        let texts = [
            r#"{"b": {"y": 1, "x": [2]}, "a": "é"}"#,
            r#"{"a":"\u00e9","b":{"x":[2],"y":1}}"#,
        ];
        let written = texts.map(|text| serde_json::to_string(&read(text).unwrap()).unwrap());
        assert_eq!(written[0], written[1]);
        assert_eq!(written[0], r#"{"a":"é","b":{"x":[2],"y":1}}"#);
    }
}
