//! What surrounds every route: request id, span, metrics, body limit, panics and fallbacks.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::DeadlineBody;
use tracing::Instrument;

use crate::json::BODY_LIMIT;
use crate::plain::plain;
use crate::problem::{Problem, ProblemType};
use crate::request_id::{self, TraceParent, X_REQUEST_ID};
use crate::telemetry::REQUEST_DURATION;

/// A client that dribbles its body holds a connection no longer than this.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Wraps a service's whole router; call it last, with all routes in place.
pub fn standard(router: Router) -> Router {
    surround(router, Observe::default())
}

/// As [`standard`], but callers of paths that begin so get every error as a plain string, and the
/// request id back that they sent, whatever its form. Logs keep the one that replaces an id which is
/// no UUID.
pub fn standard_with_plain(router: Router, under: &'static str) -> Router {
    surround(
        router,
        Observe {
            plain_under: Some(under),
            ..Observe::default()
        },
    )
}

/// One layer made of all: the router boxes what surrounds a route once for each layer it is given.
fn surround(router: Router, observe: Observe) -> Router {
    let layers = ServiceBuilder::new()
        .layer(observe)
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    router
        .fallback(async || ProblemType::NotFound)
        .method_not_allowed_fallback(async || ProblemType::MethodNotAllowed)
        .layer(layers)
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

/// Request id, span, metrics, and the time a body may take. A service by hand: the router's own kind of middleware clones and
/// boxes what it surrounds for every request.
#[derive(Clone, Copy)]
struct Observe {
    /// How paths begin whose callers know no problem documents.
    plain_under: Option<&'static str>,
    body_timeout: Duration,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            plain_under: None,
            body_timeout: BODY_TIMEOUT,
        }
    }
}

#[derive(Clone)]
struct Observed<S> {
    inner: S,
    observe: Observe,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            observe: *self,
        }
    }
}

impl<S, B> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let call = Call::of(&mut request, self.observe);
        let request = request.map(|body| in_time(body, self.observe.body_timeout));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = request_id::scope(call.id, answer)
                .instrument(call.span.clone())
                .await?;
            Ok(call.finish(response.map(Body::new)))
        })
    }
}

fn in_time(body: Body, at_most: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(DeadlineBody::new(at_most, body))
}

/// What is known of a request while it is answered.
struct Call {
    id: schemas::RequestId,
    started: Instant,
    method: &'static str,
    /// The route's pattern stands for the path: paths hold ids, and a metric per id never ends.
    route: Option<MatchedPath>,
    is_plain: bool,
    echo: Option<HeaderValue>,
    span: tracing::Span,
}

impl Call {
    fn of(request: &mut Request, observe: Observe) -> Self {
        let started = Instant::now();
        let id = request_id::from_headers(request.headers());
        let method = method_label(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let span = tracing::info_span!(
            "http",
            request.id = %id,
            http.method = method,
            http.route = name_of(route.as_ref()),
            trace.parent = tracing::field::Empty,
        );
        if let Some(parent) = TraceParent::from_headers(request.headers()) {
            span.record("trace.parent", parent.as_str());
            request.extensions_mut().insert(parent);
        }
        request.extensions_mut().insert(id);
        let is_plain = observe
            .plain_under
            .is_some_and(|under| request.uri().path().starts_with(under));
        let echo = request.headers().get(X_REQUEST_ID).filter(|_| is_plain).cloned();
        Self {
            id,
            started,
            method,
            route,
            is_plain,
            echo,
            span,
        }
    }

    fn finish(self, response: Response) -> Response {
        let mut response = if self.is_plain { plain(response) } else { response };
        let echo = self.echo.unwrap_or_else(|| request_id::header_value(self.id));
        response.headers_mut().insert(X_REQUEST_ID, echo);
        let latency = self.started.elapsed();
        let (status, route) = (response.status(), name_of(self.route.as_ref()));
        self.span
            .in_scope(|| report(self.method, route, status, latency.as_micros()));
        metrics::histogram!(
            REQUEST_DURATION,
            "method" => self.method,
            "route" => route.to_owned(),
            "status" => class(status),
        )
        .record(latency.as_secs_f64());
        response
    }
}

fn name_of(route: Option<&MatchedPath>) -> &str {
    route.map_or("(none)", MatchedPath::as_str)
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
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::json::Json;
    use crate::listener::bind;
    use crate::request_id::RequestContext;
    use crate::serve::serve;
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
    async fn some_callers_get_every_error_as_a_string() {
        let refuse = post(async || Problem::new(ProblemType::InvalidBody).detail("no"));
        let router = standard_with_plain(
            Router::new()
                .route("/plain/boom", get(boom))
                .route("/plain/refuse", refuse.clone())
                .route("/other/refuse", refuse),
            "/plain/",
        );
        let call = async |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.header(X_REQUEST_ID, "a b").body(Body::empty()).unwrap();
            send(router.clone(), request).await
        };
        for (method, path, status, text) in [
            (Method::GET, "/plain/boom", 500, "Internal error"),
            (Method::GET, "/plain/", 404, "Nothing is here"),
            (Method::GET, "/plain/nowhere", 404, "Nothing is here"),
            (
                Method::GET,
                "/plain/refuse",
                405,
                "This method is not allowed here",
            ),
            (
                Method::POST,
                "/plain/refuse",
                400,
                "The body does not fit this call: no",
            ),
        ] {
            let answer = call(method, path).await;
            assert_eq!((answer.status, answer.text.as_str()), (status, text), "{path}");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(answer.header("content-length"), text.len().to_string());
            assert_eq!(answer.header("x-request-id"), "a b");
        }
        assert_eq!(call(Method::GET, "/plain/refuse").await.header("allow"), "POST");
        assert_eq!(call(Method::POST, "/other/refuse").await.slug(), "invalid-body");
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
    async fn a_body_that_stalls_is_refused_and_its_connection_closed() {
        let echo = post(async |Json(body): Json<serde_json::Value>| Json(body));
        let impatient = Observe {
            body_timeout: Duration::from_millis(50),
            plain_under: Some("/plain/"),
        };
        let routes = Router::new().route("/", echo.clone()).route("/plain/", echo);
        let router = surround(routes, impatient);
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, shutdown.clone(), BODY_TIMEOUT));
        for (path, body, expected, told) in [
            ("/", "{}", "HTTP/1.1 200", "{}"),
            ("/", "{", "HTTP/1.1 408", "errors/body-timeout"),
            ("/", "", "HTTP/1.1 408", "errors/body-timeout"),
            (
                "/plain/",
                "{",
                "HTTP/1.1 408",
                "\r\nThe body did not arrive in time",
            ),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
            );
            let close = if body == "{}" { "Connection: close\r\n" } else { "" };
            let request = format!("{head}{close}\r\n{body}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // Ends only when the service closes the connection.
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(expected), "{answer}");
            assert!(answer.contains(told), "{answer}");
        }
        shutdown.cancel();
        served.await.unwrap().unwrap();
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
