//! The command service: HTTP commands in, events out.
//!
//! A request passes `call.rs` (who asks), its file in `endpoints/` (what is asked), `authorise.rs`
//! (may they), and the bus, which decides and commits on the user's ledger.
//!
//! To add a command: write its decision in `domain`, its endpoint file here, and name the endpoint
//! in `routes.rs`.

mod app;
mod approvals;
mod attempts;
mod authorise;
mod bootstrap;
mod call;
mod ceremonies;
mod claims;
mod config;
mod decoys;
mod delivery;
mod devices;
mod endpoints;
mod erasures;
mod expiring;
mod extent;
mod guesses;
mod hashing;
mod imports;
mod last_calls;
mod names;
mod new_passwords;
mod one_time;
mod open_claims;
mod openapi;
mod own_account;
mod passkeys;
mod passwords;
mod peers;
mod places;
mod reauthenticate;
mod recordings;
mod recovery_codes;
mod refusals;
mod removing_factors;
mod routes;
mod scopes;
mod sealing;
mod second_factor;
mod service_accounts;
mod shards;
mod snapshots;
mod startup;
mod stopping;
mod tokens;
mod totp;
mod write_limits;

pub use config::Config;
pub use startup::{StartError, run};

/// The OpenAPI document of this service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::api().1
}
