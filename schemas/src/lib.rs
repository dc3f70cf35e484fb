//! The event contract: names and versions, payloads, Avro codec, hash chain, encryption of
//! personal data and the schema registry's client.
//!
//! To add an event: write `avro/<name>.v1.avsc`, add its struct and one line to the `events!`
//! table of its stream, and run the tests; they write the missing golden file.

mod blind_index;
mod chain;
mod codec;
mod encryption;
mod events;
mod headers;
mod meta;
mod registry;
mod schema_table;
mod sha256;

pub mod catalog;
pub mod identifier;
pub mod key;
pub mod log;
pub mod user;

pub use blind_index::{BlindIndex, IndexKey, NormaliseError};
pub use chain::{ChainHead, GENESIS, link};
pub use codec::{CodecError, Stored, decode_body, encode_body, frame, schema_text, unframe};
pub use encryption::{DataKey, EncryptionError, KeyEncryptionKey, Sealed, WrappedKey, sealed_field};
pub use events::{Event, EventType, event_types, find_event_type, streams_of};
pub use headers::{CloudEventHeaders, HeaderError, ce, data_schema, parse_data_schema};
pub use ids::{
    ApprovalId, CeremonyId, ClaimId, CredentialId, DeviceId, EventId, GrantScope, Id, KeyId, LogId,
    OneTimeId, PermissionId, RequestId, RoleId, SessionId, Timestamp, UserId, WriterId,
};
pub use meta::{Actor, Idempotency, Meta, Position, Stream};
pub use registry::{Registry, RegistryError};
pub use schema_table::{SchemaIdError, SchemaIds};
pub use sha256::Sha256Digest;
