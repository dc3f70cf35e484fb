//! What every Rolecall service has in common: configuration of keys, logs, metrics and health,
//! problem answers, request parsing, consistency tokens, access tokens and authentication.
//!
//! To add a kind of error: add a variant and a row to `problem_type.rs` and a page to
//! `docs/errors`. To add something that every request passes through: add it to `http::standard`.

pub mod assurance;
pub mod at_least;
pub mod auth;
pub mod buckets;
pub mod client_info;
mod connection;
pub mod consistency;
pub mod cors;
pub mod docs_ui;
pub mod health;
pub mod http;
pub mod idempotency;
pub mod json;
pub mod jwt;
pub mod key_folder;
pub mod keys;
mod listener;
pub mod params;
mod plain;
pub mod problem;
mod problem_type;
pub mod request_id;
pub mod serve;
pub mod service_key;
pub mod signing;
pub mod telemetry;

#[cfg(test)]
mod testing;

pub use assurance::{Assurance, Authentication};
pub use at_least::{AtLeast, Empty, LogIdentity, Written, WrittenBody};
pub use auth::{Authenticate, Caller, SessionState};
pub use client_info::{ClientInfo, ProxyConfig, TrustsProxy};
pub use consistency::{ConsistencyToken, ForeignToken, TokenParseError};
pub use cors::AllowedOrigins;
pub use docs_ui::docs_router;
pub use health::{Readiness, health_router};
pub use idempotency::IdempotencyKey;
pub use json::Json;
pub use jwt::{AccessClaims, Signer, TokenConfig, TokenError, Verifier};
pub use key_folder::{KeyFolder, KeyFolders};
pub use keys::{KeyError, KeyFiles, TokenKey, generate_key_files};
pub use listener::{Listener, Protocol, bind, listen};
pub use params::{Path, Query};
pub use problem::{FieldError, Problem, ProblemDetails, ProblemType};
pub use request_id::{RequestContext, TraceParent};
pub use serve::{Doors, ServeError, serve, shutdown_signal};
pub use signing::{Algorithm, Jwks, PrivateKey, PublicKey};
