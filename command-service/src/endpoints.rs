//! One file for each call.

pub mod assign_role;
pub mod attach_permission;
pub mod change_password;
pub mod change_shard_map;
pub mod deactivate;
pub mod define_permission;
pub mod define_role;
pub mod delete_permission;
pub mod delete_role;
pub mod detach_permission;
pub mod log_in;
pub mod oauth_revoke;
pub mod reactivate;
pub mod refresh;
pub mod register;
pub mod revoke_role;
pub mod revoke_session;
pub mod revoke_sessions;
