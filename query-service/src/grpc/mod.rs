//! The doors over gRPC: checks one by one and by the stream, and Envoy's external authorization. Callers, rights and
//! decisions are those of the doors over HTTP; only the form differs.
//!
//! To add a call: write it in the `.proto` of `access-proto`, its handler in a file here, and its path in `observe.rs`.

mod access;
mod door;
mod ext_authz;
mod health;
mod observe;
mod question;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use access_proto::v1::FILE_DESCRIPTOR_SET;
use access_proto::v1::access_server::AccessServer;
use axum::Router;
use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use service_kit::json::BODY_LIMIT;
use service_kit::problem::{Problem, ProblemType};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_reflection::server::Error as ReflectionError;

use crate::app::App;
use door::Door;
pub use health::Health;

/// A proxy passes on the headers of a request, 60 KiB of them at most by Envoy's default, with what it knows beside.
const PROXY_LIMIT: usize = 256 * 1024;

/// All services, until `stopping`: then streams end.
///
/// # Errors
/// Only where the contract that was built in is broken.
pub fn router(
    app: Arc<App>,
    health: &Health,
    stopping: CancellationToken,
) -> Result<Router, ReflectionError> {
    let door = Door { app, stopping };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let access = AccessServer::new(door.clone()).max_decoding_message_size(BODY_LIMIT);
    let authorization = AuthorizationServer::new(door).max_decoding_message_size(PROXY_LIMIT);
    let routes = Routes::new(access)
        .add_service(authorization)
        .add_service(health.server())
        .add_service(reflection);
    Ok(observe::observed(routes.into_axum_router()))
}

/// Until the log is read: health is told, and every call may come again.
pub fn starting_router(health: &Health) -> Router {
    let router = Routes::new(health.server()).into_axum_router();
    let starting =
        async || observe::answer(&Problem::new(ProblemType::NotYet).detail("the service is starting"));
    observe::observed(router.fallback(starting))
}
