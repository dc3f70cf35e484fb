//! The Kafka log: one fenced writer for each ledger, group commit, and the tail that readers follow.
//!
//! A *ledger* is partition i of the users, identifiers and keys topics. Ledgers belong to writer
//! groups; a group has one transactional producer, so whoever claims the group is the only one
//! whose commits Kafka accepts. Reading is [`Tail`]; writing is [`Bus`], behind which
//! [`Group`] decides, appends and settles doubts.
//!
//! To add an aggregate: implement [`LedgerAggregate`] for it and give it a map in `ledger.rs`.

mod aggregate;
mod aggregates;
mod answer;
mod asking;
mod bulk;
mod bus;
mod claimant;
mod config;
mod consumer;
mod creation;
mod entry;
mod extent;
mod forward;
mod group;
mod group_log;
mod here;
mod identity_reader;
mod key_ring;
mod ledger;
mod membership;
mod memory;
mod native;
mod owners;
mod ownership;
mod pause;
mod polled_producer;
mod producer;
mod range_reader;
mod reader_positions;
mod record;
mod security;
mod settle;
mod snapshots;
mod store;
mod stored_keys;
mod stuck;
mod tail;
mod takeover;
mod together;
mod topics;
mod waiting;
mod watermarks;
mod worker;
mod writer_log;

/// The log's identity: who it is, read before anything else.
pub mod identity {
    pub use crate::identity_reader::{IdentityError, LogIdentity, await_log, find_log};
}

pub use aggregate::LedgerAggregate;
pub use answer::NotAQuestion;
pub use bulk::{Done, Order};
pub use bus::{Bus, BusError, within_one_deadline};
pub use config::KafkaConfig;
pub use creation::{CreateError, LogSpec, create_log, register_schemas};
pub use entry::{CommandContext, NewDataKey, Receipt, Recorded};
pub use extent::extent;
pub use forward::{Forward, ForwardError, Inspected};
pub use group::{Group, GroupSpec, GroupStatus, Halt};
pub use key_ring::{KeyRing, KeyRingError};
pub use membership::{Membership, Share};
pub use memory::{Failure, MemoryLog};
pub use owners::{Instance, Owners};
pub use ownership::Ownership;
pub use producer::KafkaWriterLog;
pub use range_reader::RangeReader;
pub use reader_positions::ReaderPositions;
pub use record::{DecodeError, Record, TailItem, decode};
pub use security::{KafkaProtocol, KafkaSecurity};
pub use snapshots::{
    IndexRow, Indexed, MemoryCopy, MemorySnapshots, Place, Save, SaveOutcome, SnapshotKey, SnapshotPosition,
    SnapshotStore, Snapshots, StateRow, StoreError,
};
pub use store::KafkaEventStore;
pub use stored_keys::stored_keys;
pub use tail::{Tail, TailError};
pub use together::Steps;
pub use topics::{HEARTBEAT, Topics, create_projectors};
pub use watermarks::{HighWatermarks, WatermarkError};
pub use writer_log::{
    CommitError, Committed, Outgoing, Target, WriterLog, WriterLogError, WriterTransaction,
};
