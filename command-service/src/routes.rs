//! The one table of calls.

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::endpoints::{
    assign_role, attach_permission, change_password, deactivate, define_permission, define_role,
    delete_permission, delete_role, detach_permission, log_in, oauth_revoke, reactivate, refresh, register,
    revoke_role, revoke_session, revoke_sessions,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rolecall command service",
        description = "Commands to Rolecall. Every answer to a write carries a consistency token, in the header \
            `Rolecall-Token` and the field `token`; send it as `Rolecall-At-Least` to read what was written. \
            Send an `Idempotency-Key` and a command can be repeated safely."
    ),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
    }
}

/// All routes and the document that describes them.
pub fn api() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
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
        .routes(routes!(oauth_revoke::revoke))
        .split_for_parts()
}
