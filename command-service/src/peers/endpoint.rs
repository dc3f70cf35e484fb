//! POST /internal/v1/forward: a question about an aggregate, from another instance.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use schemas::Timestamp;

use super::seal::{Way, given_seal, is_sealed, named_instance, seal};
use crate::app::App;

pub const PATH: &str = "/internal/v1/forward";
/// A command with all that its context may hold.
const BODY_LIMIT: usize = 1024 * 1024;

/// Not in the OpenAPI document: nobody but a command service of the same log can call it.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(PATH, post(forward))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn forward(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let own = app.instance.id;
    // The former instance at this address was meant: certainly nothing was done here.
    if named_instance(&headers) != Some(own) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    if !is_sealed(&app.token_key, Way::Call, own, &headers, &body) {
        metrics::counter!("peer_calls_refused_total").increment(1);
        tracing::warn!("A call between instances is not sealed with this log's token key, or too old");
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match app.bus.answer(&body).await {
        Ok(answer) => {
            let (way, now) = (Way::Answer(given_seal(&headers)), Timestamp::now().as_millis());
            let headers = seal(&app.token_key, way, own, now, &answer);
            (axum::response::AppendHeaders(headers), answer).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "A call between instances cannot be read");
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}
