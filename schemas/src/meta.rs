//! The `meta` record of every event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::sha256::Sha256Digest;
use ids::Timestamp;
use ids::{EventId, RequestId, UserId};

/// The three chained streams of the log. A topic is its prefix, a dot and the stream's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "Stream")]
pub enum Stream {
    #[serde(rename = "users")]
    Users,
    #[serde(rename = "identifiers")]
    Identifiers,
    #[serde(rename = "catalog")]
    Catalog,
}

impl Stream {
    pub const ALL: [Self; 3] = [Self::Users, Self::Identifiers, Self::Catalog];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Identifiers => "identifiers",
            Self::Catalog => "catalog",
        }
    }
}

/// One record of the log by place: satisfied once everything up to and with `offset` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "Position")]
pub struct Position {
    pub stream: Stream,
    pub partition: i32,
    pub offset: i64,
}

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    User(UserId),
    /// By a key of this service account.
    Service(UserId),
    System,
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(id) => write!(f, "service:{id}"),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind @ ("user" | "service"), id)) => {
                let id = id.parse().map_err(|error| format!("actor {text:?}: {error}"))?;
                Ok(if kind == "user" {
                    Self::User(id)
                } else {
                    Self::Service(id)
                })
            }
            None if text == "system" => Ok(Self::System),
            None if text == "anonymous" => Ok(Self::Anonymous),
            _ => Err(format!("unknown kind of actor {text:?}")),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Keyed digests by which a retried command finds its own event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename = "Idempotency")]
pub struct Idempotency {
    /// Of caller, operation and `Idempotency-Key`.
    pub key_digest: Sha256Digest,
    /// Of the request without its secret fields: another request under the same key is an error.
    pub request_digest: Sha256Digest,
}

impl Idempotency {
    /// Of a command that came without a key and is asked for again by an instance, not by its caller: both
    /// digests are one random value, which no key of a caller's gives.
    pub fn passing() -> Self {
        let digest = Sha256Digest::of(uuid::Uuid::new_v4().as_bytes());
        Self {
            key_digest: digest,
            request_digest: digest,
        }
    }

    /// Whether it matters only while the command is on its way.
    pub fn is_passing(&self) -> bool {
        self.key_digest == self.request_digest
    }
}

/// What every event carries. `avro/meta.avsc` documents the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Meta")]
pub struct Meta {
    pub event_id: EventId,
    pub aggregate_id: String,
    pub sequence: i64,
    pub occurred_at: Timestamp,
    pub actor: Actor,
    pub request_id: RequestId,
    pub causation_id: Option<EventId>,
    pub idempotency: Option<Idempotency>,
    pub chain_seq: i64,
    pub prev_hash: Sha256Digest,
    pub basis: Vec<Position>,
}
