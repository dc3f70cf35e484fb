//! The query service: permission checks from memory, token introspection, and what is stored of
//! people, roles and sessions.
//!
//! Checks are answered by the access node, which follows the log; no database is asked. Rows come
//! from the user's shard, never older than the caller demands. Every answer names the positions
//! of the log it rests on.
//!
//! The same checks are served over gRPC, on an address of its own (`grpc/`).
//!
//! To add an endpoint: write its file in `endpoints/`, which names its path and the permission it
//! needs, and list it in `routes.rs`.

mod app;
mod authorise;
mod authzen;
mod config;
mod endpoints;
mod freshness;
mod grpc;
mod names;
mod personal_data;
mod reads;
mod routes;
mod scopes;
mod servers;
mod startup;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use startup::{StartError, run};

/// The OpenAPI document of this service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::api().1
}
