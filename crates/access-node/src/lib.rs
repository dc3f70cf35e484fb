//! The log followed into memory: every user's rights and live sessions, and the catalog compiled.
//!
//! Command and query service each run one. It answers checks without asking anyone, knows which
//! positions its answers rest on, and waits for those a caller demands.
//!
//! To add a fact that checks depend on: take its event in `partition.rs`, and say in `waits.rs` whether it may
//! come before what it rests on.

mod applying;
mod expiries;
mod follower;
mod keys;
mod model;
mod node;
mod partition;
mod positions;
mod sessions;
mod waits;
mod warm;

pub use expiries::DueGrant;
pub use keys::KeyStanding;
pub use model::Aside;
pub use node::{AccessNode, NodeError, NotYet, UserView};
pub use sessions::SessionStanding;
pub use warm::WarmStart;

#[cfg(feature = "testing")]
pub use node::FedNode;
