//! GET /.well-known/jwks.json: the keys that verify access tokens.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use service_kit::auth::Authenticate as _;
use service_kit::json::Json;
use service_kit::signing::Jwks;

use crate::app::App;

/// Public keys of access tokens
///
/// The next key stands here before it signs, and a former one until its last token has ended.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "tokens",
    security(()),
    responses((status = 200, description = "The key set", body = Jwks)),
)]
pub async fn jwks(State(app): State<Arc<App>>) -> impl IntoResponse {
    let cache = HeaderValue::from_static("public, max-age=300");
    ([(CACHE_CONTROL, cache)], Json(app.verifier.jwks(app.now())))
}
