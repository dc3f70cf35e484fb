//! The one table of calls.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{Next, from_fn};
use event_log::within_one_deadline;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::endpoints::{
    add_passkey, approve, assign_role, attach_permission, change_password, change_profile, change_shard_map,
    confirm_totp, create_service_account, deactivate, define_permission, define_role, delete_permission,
    delete_role, detach_permission, disable_totp, end_approval, erase, import_users, issue_service_key,
    log_in, oauth_revoke, passkey_log_in, reactivate, refresh, register, remove_passkey,
    replace_recovery_codes, request_password_reset, reset_password, revoke_role, revoke_service_key,
    revoke_session, revoke_sessions, start_passkey, start_passkey_log_in, start_totp, step_up, unlock,
    verify_email, verify_phone,
};
use crate::openapi::{CommonHeaders, Document};

/// All routes and the document that describes them.
pub fn api() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (router, mut api) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(register::register))
        .routes(routes!(import_users::import_users))
        .routes(routes!(log_in::log_in))
        .routes(routes!(refresh::refresh))
        .routes(routes!(revoke_session::revoke_session))
        .routes(routes!(revoke_sessions::revoke_sessions))
        .routes(routes!(change_profile::change_profile, erase::erase))
        .routes(routes!(change_password::change_password))
        .routes(routes!(deactivate::deactivate))
        .routes(routes!(start_totp::start_totp, disable_totp::disable_totp))
        .routes(routes!(confirm_totp::confirm_totp))
        .routes(routes!(replace_recovery_codes::replace_recovery_codes))
        .routes(routes!(step_up::step_up))
        .routes(routes!(start_passkey::start_passkey))
        .routes(routes!(add_passkey::add_passkey))
        .routes(routes!(remove_passkey::remove_passkey))
        .routes(routes!(start_passkey_log_in::start_passkey_log_in))
        .routes(routes!(passkey_log_in::passkey_log_in))
        .routes(routes!(reactivate::reactivate))
        .routes(routes!(unlock::unlock))
        .routes(routes!(verify_email::request_email_verification))
        .routes(routes!(verify_email::confirm_email))
        .routes(routes!(verify_phone::request_phone_verification))
        .routes(routes!(verify_phone::confirm_phone))
        .routes(routes!(request_password_reset::request_password_reset))
        .routes(routes!(reset_password::reset_password))
        .routes(routes!(assign_role::assign_role, revoke_role::revoke_role))
        .routes(routes!(define_role::define_role, delete_role::delete_role))
        .routes(routes!(
            define_permission::define_permission,
            delete_permission::delete_permission
        ))
        .routes(routes!(
            attach_permission::attach_permission,
            detach_permission::detach_permission
        ))
        .routes(routes!(create_service_account::create_service_account))
        .routes(routes!(issue_service_key::issue_service_key))
        .routes(routes!(revoke_service_key::revoke_service_key))
        .routes(routes!(approve::approve))
        .routes(routes!(end_approval::end_approval))
        .routes(routes!(change_shard_map::change_shard_map))
        .routes(routes!(oauth_revoke::revoke))
        .split_for_parts();
    CommonHeaders.modify(&mut api);
    let one_deadline = from_fn(async |request, next: Next| within_one_deadline(next.run(request)).await);
    (router.layer(one_deadline), api)
}
