//! The record of the compacted `keys` topic: the latest state of a user's data key.
//!
//! Not an event: it has no chain, since compaction and erasure remove records on purpose.

use serde::{Deserialize, Serialize};

use crate::encryption::WrappedKey;
use crate::events::EventType;
use ids::{EventId, UserId};

pub const KEY_STORED: EventType = EventType {
    name: "key.stored",
    version: 1,
    schema: include_str!("../avro/key.stored.v1.avsc"),
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "stored")]
pub struct KeyStored {
    pub user_id: UserId,
    /// The event that made or destroyed the key.
    pub event_id: EventId,
    /// None once destroyed: the user was erased, everything sealed under it is gone.
    pub wrapped: Option<WrappedKey>,
    pub key_encryption_key_id: String,
}
