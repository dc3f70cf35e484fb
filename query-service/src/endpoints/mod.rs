//! One file per call.

pub mod approvals;
pub mod audit;
mod audit_page;
pub mod authzen_configuration;
pub mod evaluation;
pub mod evaluations;
pub mod introspect;
pub mod jwks;
mod limit;
pub mod permissions;
pub mod roles;
pub mod search_action;
pub mod search_resource;
pub mod search_subject;
pub mod service_keys;
pub mod user;
pub mod user_audit;
pub mod user_grants;
pub mod user_passkeys;
pub mod user_permissions;
pub mod user_roles;
pub mod user_sessions;
pub mod users;

#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod tests;
