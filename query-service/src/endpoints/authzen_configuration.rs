//! GET /.well-known/authzen-configuration: where the calls of AuthZEN are.

use std::sync::Arc;

use axum::extract::State;
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
}

/// What this policy decision point offers
#[utoipa::path(
    get,
    path = "/.well-known/authzen-configuration",
    tag = "access",
    security(()),
    responses((status = 200, description = "The metadata", body = AuthzenConfiguration)),
)]
pub async fn authzen_configuration(State(app): State<Arc<App>>) -> Json<AuthzenConfiguration> {
    let url = &app.public_url;
    Json(AuthzenConfiguration {
        policy_decision_point: url.clone(),
        access_evaluation_endpoint: format!("{url}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{url}/access/v1/evaluations"),
    })
}
