//! POST /internal/v1/forward: a question about an aggregate, from another instance.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::post;
use event_log::Instance;
use schemas::Timestamp;
use service_kit::keys::TokenKey;

use super::numbers::{NotTaken, Numbers};
use super::seal::{Answer, Call, given_seal};
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
    let key = &app.token_key;
    let call = match admit(&app.instance, key, &app.peer_calls, &headers, &body) {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    match app.bus.answer(&body).await {
        Ok(answer) => sealed(key, call, given_seal(&headers), StatusCode::OK, answer),
        Err(error) => {
            tracing::error!(%error, "A call between instances cannot be read");
            StatusCode::BAD_REQUEST.into_response()
        }
    }
}

/// A call that is to be carried out, or the answer to one that is not.
#[expect(clippy::result_large_err, reason = "the error is what is sent")]
pub(super) fn admit(
    own: &Instance,
    key: &TokenKey,
    numbers: &Numbers,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Call, Response> {
    let call = Call::named(headers).filter(|call| call.is_sealed(key, headers, body));
    let call = call.ok_or_else(|| {
        metrics::counter!("peer_calls_refused_total").increment(1);
        tracing::warn!("A call between instances is not sealed with this log's token key, or too old");
        StatusCode::UNAUTHORIZED.into_response()
    })?;
    // The former instance at this address was meant: certainly nothing was done here, nor can it be there.
    if call.to != own.id {
        let (status, address) = (StatusCode::MISDIRECTED_REQUEST, own.address.clone().into_bytes());
        return Err(sealed(key, call, given_seal(headers), status, address));
    }
    let taken = numbers.take(call.from, call.number, Instant::now());
    taken.map_err(|why| not_taken(call, why))?;
    Ok(call)
}

/// Not sealed, since the caller cannot go by it: whoever sent the call first may have had it carried out, and
/// whoever holds a copy of one refused as "busy" may yet.
fn not_taken(call: Call, why: NotTaken) -> Response {
    metrics::counter!("peer_calls_refused_total").increment(1);
    tracing::warn!(from = %call.from, number = call.number, "A call between instances is not taken: {why:?}");
    match why {
        NotTaken::Again => StatusCode::CONFLICT.into_response(),
        NotTaken::Busy => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

pub(super) fn sealed(
    key: &TokenKey,
    call: Call,
    call_seal: &str,
    status: StatusCode,
    body: Vec<u8>,
) -> Response {
    let answer = Answer {
        call_seal,
        status,
        body: &body,
    };
    let headers = call.seal_answer(key, &answer, Timestamp::now().as_millis());
    (status, AppendHeaders(headers), body).into_response()
}
