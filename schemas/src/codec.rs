//! Avro bodies and their Confluent framing (0x00, schema id as 4 bytes big-endian, body).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{PoisonError, RwLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::events::EventType;
use crate::meta::Meta;
use crate::sha256::Sha256Digest;

#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("no Confluent framing: want 0x00 and a 4-byte schema id")]
    Framing,
    #[error("unknown event type {name} version {version}")]
    UnknownType { name: String, version: i32 },
    #[error("schema of {name} version {version}")]
    Schema {
        name: String,
        version: i32,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("encoding {name}")]
    Encode {
        name: &'static str,
        source: Box<apache_avro::Error>,
    },
    #[error("decoding {name} version {version}")]
    Decode {
        name: &'static str,
        version: i32,
        source: Box<apache_avro::Error>,
    },
    #[error("{extra} bytes after the end of {name} version {version}")]
    Trailing {
        name: &'static str,
        version: i32,
        extra: usize,
    },
}

/// An event as it stands in the log: its meta record and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    pub meta: Meta,
    pub data: T,
}

impl<T> Stored<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Stored<U> {
        Stored {
            meta: self.meta,
            data: f(self.data),
        }
    }
}

/// [`Stored`] by reference, for writing.
pub(crate) struct StoredRef<'a, T> {
    pub meta: &'a Meta,
    pub data: &'a T,
}

impl<T: Serialize> Serialize for StoredRef<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("event", 2)?;
        record.serialize_field("meta", self.meta)?;
        record.serialize_field("data", self.data)?;
        record.end()
    }
}

impl<T: Serialize> Serialize for Stored<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredRef {
            meta: &self.meta,
            data: &self.data,
        }
        .serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "lowercase")]
        enum Field {
            Meta,
            Data,
        }
        struct Record<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Record<T> {
            type Value = Stored<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event record of meta and data")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stored<T>, A::Error> {
                let (mut meta, mut data) = (None, None);
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Meta => meta = Some(map.next_value()?),
                        Field::Data => data = Some(map.next_value()?),
                    }
                }
                Ok(Stored {
                    meta: meta.ok_or_else(|| de::Error::missing_field("meta"))?,
                    data: data.ok_or_else(|| de::Error::missing_field("data"))?,
                })
            }
        }
        // The Avro record is named after the event, so no fixed struct name would match them all.
        deserializer.deserialize_any(Record(PhantomData))
    }
}

struct Compiled {
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
    full_text: String,
    fingerprint: Sha256Digest,
}

fn compile(event_type: &EventType) -> Result<Compiled, Box<dyn std::error::Error + Send + Sync>> {
    let full = with_meta(serde_json::from_str(event_type.schema)?)?;
    // Leaked on purpose: one small schema a released version, needed as long as the process lives.
    let schema: &'static Schema = Box::leak(Box::new(Schema::parse(&full)?));
    Ok(Compiled {
        writer: GenericDatumWriter::builder(schema)
            .human_readable(false)
            .build()?,
        reader: GenericDatumReader::builder(schema)
            .human_readable(false)
            .build()?,
        full_text: full.to_string(),
        fingerprint: Sha256Digest::of(schema.canonical_form().as_bytes()),
    })
}

/// Puts the meta record in the place of its name, so that each schema stands by itself.
fn with_meta(mut schema: Value) -> Result<Value, serde_json::Error> {
    let meta: Value = serde_json::from_str(include_str!("../avro/meta.avsc"))?;
    for field in schema["fields"].as_array_mut().into_iter().flatten() {
        if field["type"] == "rolecall.Meta" {
            field["type"] = meta.clone();
        }
    }
    Ok(schema)
}

/// Compiled once, on first use, and kept as long as the process lives.
fn compiled(event_type: &'static EventType) -> Result<&'static Compiled, CodecError> {
    static TABLE: RwLock<BTreeMap<(&str, i32), &'static Compiled>> = RwLock::new(BTreeMap::new());
    let key = (event_type.name, event_type.version);
    // A panic elsewhere cannot leave the table half written.
    if let Some(found) = TABLE.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(found);
    }
    let compiled = compile(event_type).map_err(|source| CodecError::Schema {
        name: event_type.name.to_owned(),
        version: event_type.version,
        source,
    })?;
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    Ok(table.entry(key).or_insert_with(|| Box::leak(Box::new(compiled))))
}

/// The self-contained schema text, as the registry gets it, and its fingerprint.
pub fn schema_text(event_type: &'static EventType) -> Result<(&'static str, Sha256Digest), CodecError> {
    let compiled = compiled(event_type)?;
    Ok((&compiled.full_text, compiled.fingerprint))
}

/// Avro body of a record, without framing.
pub fn encode_body<T: Serialize>(event_type: &'static EventType, record: &T) -> Result<Vec<u8>, CodecError> {
    compiled(event_type)?
        .writer
        .write_ser_to_vec(record)
        .map_err(|source| CodecError::Encode {
            name: event_type.name,
            source: Box::new(source),
        })
}

/// Reads a whole Avro body by the schema it was written with; bytes left over are an error.
pub fn decode_body<T: DeserializeOwned>(
    event_type: &'static EventType,
    mut body: &[u8],
) -> Result<T, CodecError> {
    let (name, version) = (event_type.name, event_type.version);
    let record = compiled(event_type)?
        .reader
        .read_deser(&mut body)
        .map_err(|source| CodecError::Decode {
            name,
            version,
            source: Box::new(source),
        })?;
    match body.len() {
        0 => Ok(record),
        extra => Err(CodecError::Trailing { name, version, extra }),
    }
}

/// Puts the Confluent framing before a body.
pub fn frame(schema_id: i32, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(5 + body.len());
    value.push(0);
    value.extend_from_slice(&schema_id.to_be_bytes());
    value.extend_from_slice(body);
    value
}

/// Splits a framed value into schema id and body.
pub fn unframe(value: &[u8]) -> Result<(i32, &[u8]), CodecError> {
    match value {
        [0, a, b, c, d, body @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => Err(CodecError::Framing),
    }
}
