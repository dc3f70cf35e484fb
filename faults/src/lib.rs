//! The fault campaign: random commands and checks from many clients against several of each service,
//! three brokers and two PostgreSQL clusters, while servers, services, disks, clocks and the network
//! between them fail as a seed says. Then the books are reckoned up: see [`reckoning`].
//!
//! To add a fault: add it to [`plan::Fault`] with its part and kind, give it a chance in `plan.rs`,
//! and do and undo it in `inflict.rs`. To add a command: [`record::Action`] and `client.rs`.

mod campaign;
mod client;
mod disk;
mod inflict;
mod naive;
mod namespaces;
mod network;
pub mod plan;
mod proxy;
pub mod reckoning;
pub mod record;
mod report;
mod shared;
mod stage;
mod watch;

use std::time::Duration;

pub use campaign::run;
pub use report::Totals;

/// How large and how long.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Settings {
    pub seed: u64,
    /// How long faults come.
    pub length: Duration,
    pub commands: usize,
    pub queries: usize,
    pub projectors: usize,
    pub shards: usize,
    pub clients: usize,
    /// Mean pause of a client between two calls.
    pub pace: Duration,
    /// How many of a hundred calls are checks.
    pub checks: u32,
    /// Kinds of faults, or none for all.
    pub only: Vec<String>,
    /// Breaks nothing: whatever is found then is wrong without any fault.
    pub without_faults: bool,
}
