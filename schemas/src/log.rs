//! Events about the log itself: its identity, its schemas, its writers.

use serde::{Deserialize, Serialize};

use crate::events::{event_type, events};
use crate::sha256::Sha256Digest;
use ids::{LogId, UserId, WriterId};

events! {
    /// What can happen to the log itself.
    pub enum LogEvent {
        Created(LogCreated) => ("log.created", 1),
        SchemaRegistered(SchemaRegistered) => ("schema.registered", 1),
        LedgerClaimed(LedgerClaimed) => ("ledger.claimed", 1),
    }
}

/// The first event of a log: what must never differ between its readers and writers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "LogCreated")]
pub struct LogCreated {
    pub log_id: LogId,
    pub ledgers: i32,
    pub groups: i32,
    pub ledger_function: String,
    pub chain_version: i32,
    pub index_key_id: String,
    pub key_check: Sha256Digest,
    pub administrator: UserId,
}

/// A schema id of this log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SchemaRegistered")]
pub struct SchemaRegistered {
    pub event_type: String,
    pub event_version: i32,
    pub schema_id: i32,
    pub fingerprint: Sha256Digest,
}

/// An instance became the one writer of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "LedgerClaimed")]
pub struct LedgerClaimed {
    pub instance: WriterId,
    /// Where other instances reach it: the root of an `http://` address.
    pub address: String,
    /// Writer group; -1 for the catalog's.
    pub group: i32,
}
