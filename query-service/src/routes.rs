//! The routes and their description.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use service_kit::problem::CONTENT_TYPE_PROBLEM;
use service_kit::{docs_router, http};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::endpoints::{
    approvals, audit, authzen_configuration, evaluation, evaluations, introspect, jwks, permissions, roles,
    search_action, search_resource, search_subject, service_keys, user, user_audit, user_grants,
    user_passkeys, user_permissions, user_roles, user_sessions, users,
};

/// A batch may be as long as its most items need.
const BATCH_LIMIT: usize = 512 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rolecall query service",
        description = "Permission checks, token introspection, and reads. Every answer names in \
            `Rolecall-Token` what of the log it reflects; send such a token, or `latest`, as \
            `Rolecall-At-Least` to be answered from no less.",
    ),
    tags(
        (name = "access", description = "OpenID AuthZEN Authorization API 1.0"),
        (name = "tokens", description = "Access tokens"),
        (name = "users", description = "What is stored of people"),
        (name = "audit", description = "What happened"),
        (name = "catalog", description = "Roles and permissions"),
    ),
    security(("bearer" = [])),
    modifiers(&Bearer),
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("An access token, or a key of a service account".to_owned());
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Every call outside AuthZEN may be refused with a problem: a malformed parameter, a token beyond the end.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let outside = |(path, _): &(&String, &mut PathItem)| !path.starts_with("/access/");
        for (_, item) in api.paths.paths.iter_mut().filter(outside) {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails")));
                let refused = ResponseBuilder::new()
                    .description("Refused")
                    .content(CONTENT_TYPE_PROBLEM, problem.build());
                let responses = &mut operation.responses.responses;
                responses.insert("default".to_owned(), RefOr::T(refused.build()));
            }
        }
    }
}

pub fn api() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let batches = OpenApiRouter::new()
        .routes(routes!(evaluations::evaluations))
        .layer(DefaultBodyLimit::max(BATCH_LIMIT));
    let (router, mut api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(evaluation::evaluation))
        .merge(batches)
        .routes(routes!(search_subject::search_subject))
        .routes(routes!(search_resource::search_resource))
        .routes(routes!(search_action::search_action))
        .routes(routes!(authzen_configuration::authzen_configuration))
        .routes(routes!(introspect::introspect))
        .routes(routes!(jwks::jwks))
        .routes(routes!(user::user))
        .routes(routes!(user_roles::user_roles))
        .routes(routes!(user_grants::user_grants))
        .routes(routes!(service_keys::service_keys))
        .routes(routes!(user_permissions::user_permissions))
        .routes(routes!(user_sessions::user_sessions))
        .routes(routes!(user_passkeys::user_passkeys))
        .routes(routes!(user_audit::user_audit))
        .routes(routes!(users::users))
        .routes(routes!(audit::audit))
        .routes(routes!(roles::roles))
        .routes(routes!(permissions::permissions))
        .routes(routes!(approvals::approvals))
        .split_for_parts();
    Refusals.modify(&mut api);
    (router, api)
}

/// All of the API with what surrounds every request.
pub fn router(app: Arc<App>) -> Router {
    let (routes, api) = api();
    let routes = routes.merge(docs_router(api)).with_state(app);
    // AuthZEN callers know no problem documents, and get their own request id back, whatever its form.
    http::standard_with_plain(routes, "/access/")
}
