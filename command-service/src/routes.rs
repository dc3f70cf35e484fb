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
    assign_role, attach_permission, change_password, change_shard_map, deactivate, define_permission,
    define_role, delete_permission, delete_role, detach_permission, log_in, oauth_revoke, reactivate,
    refresh, register, revoke_role, revoke_session, revoke_sessions,
};
use crate::openapi::{CommonHeaders, Document};

/// All routes and the document that describes them.
pub fn api() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (router, mut api) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(register::register))
        .routes(routes!(log_in::log_in))
        .routes(routes!(refresh::refresh))
        .routes(routes!(revoke_session::revoke_session))
        .routes(routes!(revoke_sessions::revoke_sessions))
        .routes(routes!(change_password::change_password))
        .routes(routes!(deactivate::deactivate))
        .routes(routes!(reactivate::reactivate))
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
        .routes(routes!(change_shard_map::change_shard_map))
        .routes(routes!(oauth_revoke::revoke))
        .split_for_parts();
    CommonHeaders.modify(&mut api);
    let one_deadline = from_fn(async |request, next: Next| within_one_deadline(next.run(request)).await);
    (router.layer(one_deadline), api)
}
