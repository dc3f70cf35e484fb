//! What surrounds every route: request id, span, metrics, body limit, panics and fallbacks.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::json::BODY_LIMIT;
use crate::problem::{Problem, ProblemType};
use crate::request_id::{self, TraceParent, X_REQUEST_ID};
use crate::telemetry::REQUEST_DURATION;

/// Wraps a service's whole router; call it last, with all routes in place.
pub fn standard(router: Router) -> Router {
    router
        .fallback(async || ProblemType::NotFound)
        .method_not_allowed_fallback(async || ProblemType::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn(observe))
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = message, "A request panicked");
    Problem::new(ProblemType::Internal).into_response()
}

/// The route's pattern stands for the path: paths hold ids, and a metric per id never ends.
async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id::from_headers(request.headers());
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("(none)", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http",
        request.id = %id,
        http.method = method,
        http.route = route,
        trace.parent = tracing::field::Empty,
    );
    if let Some(parent) = TraceParent::from_headers(request.headers()) {
        span.record("trace.parent", parent.as_str());
        request.extensions_mut().insert(parent);
    }
    request.extensions_mut().insert(id);

    let mut response = request_id::scope(id, next.run(request))
        .instrument(span.clone())
        .await;
    response
        .headers_mut()
        .insert(X_REQUEST_ID, request_id::header_value(id));

    let latency = started.elapsed();
    let status = response.status();
    span.in_scope(|| report(method, route, status, latency.as_micros()));
    metrics::histogram!(
        REQUEST_DURATION,
        "method" => method,
        "route" => route.to_owned(),
        "status" => class(status),
    )
    .record(latency.as_secs_f64());
    response
}

fn report(method: &str, route: &str, status: StatusCode, latency_us: u128) {
    let status = status.as_u16();
    if status >= 500 {
        tracing::warn!(
            http.status = status,
            latency_us,
            "{method} {route} answered {status}"
        );
    } else {
        tracing::debug!(
            http.status = status,
            latency_us,
            "{method} {route} answered {status}"
        );
    }
}

/// Callers invent methods too; a label takes only the known ones.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};

    use super::*;
    use crate::request_id::RequestContext;
    use crate::telemetry;
    use crate::testing::{get as fetch, send};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    async fn boom() -> &'static str {
        panic!("secret of the handler")
    }

    fn router() -> Router {
        standard(
            Router::new()
                .route("/boom", get(boom))
                .route("/write", post(async || "written"))
                .route("/people/{id}", get(async || "someone"))
                .route(
                    "/context",
                    get(async |context: RequestContext| format!("{context:?}")),
                ),
        )
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_problems() {
        let answer = fetch(router(), "/nowhere").await;
        assert_eq!((answer.status, answer.slug().as_str()), (404, "not-found"));
        let answer = fetch(router(), "/write").await;
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (405, "method-not-allowed")
        );
        assert_eq!(answer.header("allow"), "POST");
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_that_names_the_request() {
        let request = Request::get("/boom")
            .header(X_REQUEST_ID, ID)
            .body(Body::empty())
            .unwrap();
        let answer = send(router(), request).await;
        assert_eq!((answer.status, answer.slug().as_str()), (500, "internal"));
        assert_eq!(answer.body["instance"], format!("urn:uuid:{ID}"));
        assert!(!answer.text.contains("secret"));
    }

    #[tokio::test]
    async fn ids_travel_through_and_bad_ones_are_replaced() {
        let request = Request::get("/context")
            .header(X_REQUEST_ID, ID)
            .header("traceparent", PARENT)
            .body(Body::empty())
            .unwrap();
        let answer = send(router(), request).await;
        assert_eq!(answer.header("x-request-id"), ID);
        assert!(
            answer.text.contains(ID) && answer.text.contains(PARENT),
            "{}",
            answer.text
        );

        let request = Request::get("/context")
            .header(X_REQUEST_ID, "alice")
            .body(Body::empty())
            .unwrap();
        let answer = send(router(), request).await;
        assert_eq!(answer.header("x-request-id").len(), 36);
        assert!(answer.text.contains(answer.header("x-request-id")));
    }

    #[tokio::test]
    async fn metrics_are_by_route_not_by_path() {
        let metrics = telemetry::init_metrics().unwrap();
        fetch(router(), &format!("/people/{ID}")).await;
        let text = metrics.render();
        assert!(text.contains(r#"route="/people/{id}""#), "{text}");
        assert!(!text.contains(ID));
    }
}
