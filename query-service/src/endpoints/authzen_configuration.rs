//! GET /.well-known/authzen-configuration: where the calls of AuthZEN are.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use serde::Serialize;
use service_kit::json::Json;
use utoipa::ToSchema;

use crate::app::App;

/// Metadata of a policy decision point.
#[derive(Serialize, ToSchema)]
pub struct AuthzenConfiguration {
    #[schema(example = "https://query.example.org")]
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

/// It changes with the configuration of the service only.
const FOR_AN_HOUR: &str = "public, max-age=3600";

/// What this policy decision point offers
#[utoipa::path(
    get,
    path = "/.well-known/authzen-configuration",
    tag = "access",
    security(()),
    responses((status = 200, description = "The metadata", body = AuthzenConfiguration)),
)]
pub async fn authzen_configuration(
    State(app): State<Arc<App>>,
) -> ([(HeaderName, &'static str); 1], Json<AuthzenConfiguration>) {
    let at = |path: &str| format!("{}/access/v1/{path}", app.public_url);
    let configuration = AuthzenConfiguration {
        policy_decision_point: app.public_url.clone(),
        access_evaluation_endpoint: at("evaluation"),
        access_evaluations_endpoint: at("evaluations"),
        search_subject_endpoint: at("search/subject"),
        search_resource_endpoint: at("search/resource"),
        search_action_endpoint: at("search/action"),
    };
    ([(CACHE_CONTROL, FOR_AN_HOUR)], Json(configuration))
}
