//! One file for each call.

pub mod assign_role;
pub mod attach_permission;
pub mod change_password;
pub mod change_profile;
pub mod deactivate;
pub mod define_permission;
pub mod define_role;
pub mod delete_permission;
pub mod delete_role;
pub mod detach_permission;
pub mod erase;
pub mod log_in;
pub mod oauth_revoke;
pub mod reactivate;
pub mod refresh;
pub mod register;
pub mod request_password_reset;
pub mod reset_password;
pub mod revoke_role;
pub mod revoke_session;
pub mod revoke_sessions;
pub mod unlock;
pub mod verify_email;
pub mod verify_phone;
