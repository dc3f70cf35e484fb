//! The command service: HTTP commands in, events out.
//!
//! A request passes `call.rs` (who asks), its file in `endpoints/` (what is asked), `authorise.rs`
//! (may they), and the bus, which decides and commits on the user's ledger.
//!
//! To add a command: write its decision in `domain`, its endpoint file here, and name the endpoint
//! in `routes.rs`.

mod app;
mod attempts;
mod authorise;
mod bootstrap;
mod call;
mod claims;
mod config;
mod delivery;
mod devices;
mod endpoints;
mod erasures;
mod extent;
mod guesses;
mod names;
mod one_time;
mod open_claims;
mod openapi;
mod passwords;
mod peers;
mod reauthenticate;
mod refusals;
mod routes;
mod sealing;
mod shards;
mod snapshots;
mod startup;
mod stopping;
mod tokens;

pub use config::Config;
pub use startup::{StartError, run};

/// The OpenAPI document of this service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::api().1
}
