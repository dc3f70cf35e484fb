//! The one table of event names and versions.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::catalog::CatalogEvent;
use crate::codec::{CodecError, Stored};
use crate::identifier::IdentifierEvent;
use crate::log::LogEvent;
use crate::meta::{Meta, Stream};
use crate::user::UserEvent;

/// A name and version of the contract. Never derived from a Rust identifier: renaming code must
/// not rename history.
#[derive(Debug, PartialEq, Eq)]
pub struct EventType {
    pub name: &'static str,
    pub version: i32,
    /// The text of its `.avsc`, still naming `rolecall.Meta` instead of holding it.
    pub schema: &'static str,
}

/// Makes an enum of a stream's events from its table: `Variant(Payload) => ("name", version)`.
///
/// A payload that changed after release lists the way up from each older version, oldest first:
/// `=> ("name", 2, from 1: PayloadV1 => step)`; readers see the newest only.
macro_rules! events {
    ($(#[$doc:meta])* pub enum $events:ident {
        $($variant:ident($payload:ty) => (
            $name:literal, $version:literal $(, from $old:literal: $old_payload:ty => $step:path)*
        )),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $events {
            $($variant($payload)),+
        }

        impl $events {
            /// Every released name and version, the older ones too.
            pub const TYPES: &'static [&'static $crate::events::EventType] = &[
                $(event_type!($name, $version),
                  $(event_type!($name, $old),)*)+
            ];

            /// The name and version under which this event is written.
            pub fn event_type(&self) -> &'static $crate::events::EventType {
                match self {
                    $(Self::$variant(_) => event_type!($name, $version)),+
                }
            }

            /// Avro body (no framing) of this event with its meta record.
            pub fn encode(&self, meta: &$crate::meta::Meta)
                -> Result<Vec<u8>, $crate::codec::CodecError> {
                match self {
                    $(Self::$variant(data) => $crate::codec::encode_body(
                        self.event_type(), &$crate::codec::StoredRef { meta, data })),+
                }
            }

            /// Reads a body written under `event_type`, lifting older versions to the newest.
            pub fn decode(event_type: &'static $crate::events::EventType, body: &[u8])
                -> Result<$crate::codec::Stored<Self>, $crate::codec::CodecError> {
                match (event_type.name, event_type.version) {
                    $(($name, $version) => {
                        let stored: $crate::codec::Stored<$payload> =
                            $crate::codec::decode_body(event_type, body)?;
                        Ok(stored.map(Self::$variant))
                    }
                    $(($name, $old) => {
                        let stored: $crate::codec::Stored<$old_payload> =
                            $crate::codec::decode_body(event_type, body)?;
                        Ok(stored.map(|old| Self::$variant($step(old))))
                    })*)+
                    _ => Err($crate::codec::CodecError::UnknownType {
                        name: event_type.name.to_owned(), version: event_type.version }),
                }
            }
        }

        impl cqrs_es::DomainEvent for $events {
            fn event_type(&self) -> String {
                self.event_type().name.to_owned()
            }

            fn event_version(&self) -> String {
                self.event_type().version.to_string()
            }
        }
    };
}
pub(crate) use events;

macro_rules! event_type {
    ($name:literal, $version:literal) => {
        &$crate::events::EventType {
            name: $name,
            version: $version,
            schema: include_str!(concat!("../avro/", $name, ".v", $version, ".avsc")),
        }
    };
}
pub(crate) use event_type;

/// Any event of the log.
#[expect(
    clippy::large_enum_variant,
    reason = "most events are of users; a box for each would cost an allocation"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    User(UserEvent),
    Identifier(IdentifierEvent),
    Catalog(CatalogEvent),
    Log(LogEvent),
}

impl Event {
    pub fn event_type(&self) -> &'static EventType {
        match self {
            Self::User(event) => event.event_type(),
            Self::Identifier(event) => event.event_type(),
            Self::Catalog(event) => event.event_type(),
            Self::Log(event) => event.event_type(),
        }
    }

    /// Avro body (no framing) of this event with its meta record.
    pub fn encode(&self, meta: &Meta) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::User(event) => event.encode(meta),
            Self::Identifier(event) => event.encode(meta),
            Self::Catalog(event) => event.encode(meta),
            Self::Log(event) => event.encode(meta),
        }
    }

    /// Reads a body (no framing) written under a name and version.
    pub fn decode(name: &str, version: i32, body: &[u8]) -> Result<Stored<Self>, CodecError> {
        let event_type = find_event_type(name, version).ok_or_else(|| CodecError::UnknownType {
            name: name.to_owned(),
            version,
        })?;
        Self::decode_as(event_type, body)
    }

    /// [`Self::decode`] for a type already looked up.
    pub fn decode_as(event_type: &'static EventType, body: &[u8]) -> Result<Stored<Self>, CodecError> {
        match family(event_type) {
            "user" => Ok(UserEvent::decode(event_type, body)?.map(Self::User)),
            "identifier" => Ok(IdentifierEvent::decode(event_type, body)?.map(Self::Identifier)),
            "catalog" | "shard_map_changed" => Ok(CatalogEvent::decode(event_type, body)?.map(Self::Catalog)),
            _ => Ok(LogEvent::decode(event_type, body)?.map(Self::Log)),
        }
    }
}

/// What stands before the point, or all of a name that has none.
fn family(event_type: &EventType) -> &str {
    event_type
        .name
        .split_once('.')
        .map_or(event_type.name, |(family, _)| family)
}

/// Streams in which an event of this name may stand; the registry has one subject for each.
pub fn streams_of(event_type: &EventType) -> &'static [Stream] {
    match family(event_type) {
        "user" => &[Stream::Users],
        "identifier" => &[Stream::Identifiers],
        "ledger" => &Stream::ALL,
        _ => &[Stream::Catalog],
    }
}

/// Every released name and version.
pub fn event_types() -> impl Iterator<Item = &'static EventType> {
    [
        UserEvent::TYPES,
        IdentifierEvent::TYPES,
        CatalogEvent::TYPES,
        LogEvent::TYPES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The released type of this name and version, if there is one.
pub fn find_event_type(name: &str, version: i32) -> Option<&'static EventType> {
    static TABLE: LazyLock<HashMap<(&str, i32), &'static EventType>> =
        LazyLock::new(|| event_types().map(|t| ((t.name, t.version), t)).collect());
    TABLE.get(&(name, version)).copied()
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::schema_compatibility::SchemaCompatibility;
    use serde::{Deserialize, Serialize};

    use crate::codec::schema_text;
    use crate::meta::Actor;
    use crate::{ChainHead, Id, Meta, Timestamp};

    macro_rules! event_type {
        ($name:literal, $version:literal) => {
            &crate::events::EventType {
                name: $name,
                version: $version,
                schema: include_str!(concat!(
                    "../tests/upcasting/",
                    $name,
                    ".v",
                    $version,
                    ".avsc"
                )),
            }
        };
    }

    /// What `events!` makes, with the schemas of this test instead of released ones.
    mod greeting {
        use super::*;

        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename = "Greeted")]
        pub struct GreetedV1 {
            pub name: String,
        }

        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename = "Greeted")]
        pub struct Greeted {
            pub name: String,
            pub language: String,
        }

        /// v1 had no language; everybody was greeted in English.
        pub fn v1_to_v2(old: GreetedV1) -> Greeted {
            Greeted {
                name: old.name,
                language: "en".to_owned(),
            }
        }
    }

    use greeting::{Greeted, GreetedV1};

    crate::events::events! {
        /// A stream of the test.
        pub enum GreetingEvent {
            Greeted(Greeted) => ("greeting.greeted", 2, from 1: GreetedV1 => greeting::v1_to_v2),
        }
    }

    fn meta() -> Meta {
        Meta {
            event_id: Id::new_v7(),
            aggregate_id: "a".to_owned(),
            sequence: 1,
            occurred_at: Timestamp::now(),
            actor: Actor::System,
            request_id: Id::new_v7(),
            causation_id: None,
            idempotency: None,
            chain_seq: 0,
            prev_hash: ChainHead::START.hash,
            basis: Vec::new(),
        }
    }

    #[test]
    fn an_old_version_is_read_as_the_newest() {
        let v1 = event_type!("greeting.greeted", 1);
        let old = GreetedV1 {
            name: "Ada".to_owned(),
        };
        let meta = meta();
        let body = crate::codec::encode_body(
            v1,
            &crate::codec::StoredRef {
                meta: &meta,
                data: &old,
            },
        )
        .unwrap();
        let read = GreetingEvent::decode(v1, &body).unwrap();
        let GreetingEvent::Greeted(greeted) = read.data;
        assert_eq!(
            greeted,
            Greeted {
                name: "Ada".to_owned(),
                language: "en".to_owned()
            }
        );
    }

    #[test]
    fn the_newest_version_is_what_is_written() {
        let event = GreetingEvent::Greeted(Greeted {
            name: "Ada".to_owned(),
            language: "fr".to_owned(),
        });
        let body = event.encode(&meta()).unwrap();
        assert_eq!(event.event_type().version, 2);
        assert_eq!(
            GreetingEvent::decode(event.event_type(), &body).unwrap().data,
            event
        );
    }

    /// FULL_TRANSITIVE: every version of a name reads what every other wrote.
    #[test]
    fn versions_of_a_name_are_fully_compatible() {
        let types: Vec<_> = super::event_types()
            .chain(GreetingEvent::TYPES.iter().copied())
            .collect();
        for one in &types {
            for other in types.iter().filter(|other| other.name == one.name) {
                let parse = |t| Schema::parse_str(schema_text(t).unwrap().0).unwrap();
                SchemaCompatibility::mutual_read(&parse(one), &parse(other)).unwrap();
            }
        }
    }
}
