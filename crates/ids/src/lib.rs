//! What names things, and when: typed UUIDs, scopes and microseconds. Apart from the events, so that whoever needs no
//! events need not build their codec.
//!
//! To add an id: a kind and a type in `id.rs`.

mod id;
mod scope;
mod timestamp;

pub use id::{
    ApprovalId, CeremonyId, ClaimId, CredentialId, DeviceId, EventId, Id, KeyId, LogId, OneTimeId,
    PermissionId, RequestId, RoleId, SessionId, UserId, WriterId,
};
pub use scope::GrantScope;
pub use timestamp::Timestamp;
