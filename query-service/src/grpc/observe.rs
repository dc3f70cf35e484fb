//! What surrounds every call over gRPC: request id, span, metrics, the time a call may take, and panics.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Frame, SizeHint};
use metrics::{Gauge, gauge, histogram};
use schemas::RequestId;
use service_kit::problem::{Problem, ProblemType};
use service_kit::request_id::{self, TraceParent, X_REQUEST_ID};
use tonic::Code;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::status::status;

/// A caller that does not send the whole of its message, or takes no answer's beginning, waits no longer than this.
const BEGINNING: Duration = Duration::from_secs(30);
const DURATION: &str = "grpc_request_duration_seconds";
const IN_FLIGHT: &str = "grpc_requests_in_flight";
/// Where the code of a call's end stands: in its trailers, or in the headers of an answer that has nothing else.
const GRPC_STATUS: &str = "grpc-status";

/// Callers invent paths too; a label takes only the known ones.
const METHODS: [&str; 6] = [
    "/rolecall.access.v1.Access/Check",
    "/rolecall.access.v1.Access/CheckBulk",
    "/envoy.service.auth.v3.Authorization/Check",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Call it last, with all services in place.
pub fn observed(router: Router) -> Router {
    let layers = ServiceBuilder::new()
        .layer(Observe)
        .layer(CatchPanicLayer::custom(answer_panic));
    router.layer(layers)
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = message, "A call panicked");
    answer(&ProblemType::Internal.into())
}

/// A problem as the whole answer to a call.
pub fn answer(problem: &Problem) -> Response<Body> {
    status(problem).into_http()
}

#[derive(Clone, Copy)]
struct Observe;

#[derive(Clone)]
struct Observed<S>(S);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed(inner)
    }
}

impl<S, B> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let (id, call) = Call::of(&mut request);
        let beginning = tokio::time::timeout(BEGINNING, self.0.call(request));
        let beginning = request_id::scope(id, beginning).instrument(call.span.clone());
        Box::pin(async move {
            let response = match beginning.await {
                Ok(response) => response?.map(Body::new),
                Err(_) => answer(&ProblemType::BodyTimeout.into()),
            };
            Ok(call.surround(id, response))
        })
    }
}

/// What is known of a call until it has ended.
struct Call {
    started: Instant,
    method: &'static str,
    span: tracing::Span,
    in_flight: Gauge,
}

impl Call {
    fn of(request: &mut Request) -> (RequestId, Self) {
        let id = request_id::from_headers(request.headers());
        let mut methods = METHODS.into_iter();
        let method = methods.find(|it| *it == request.uri().path()).unwrap_or("(none)");
        let span = tracing::info_span!(
            "grpc",
            request.id = %id,
            grpc.method = method,
            trace.parent = tracing::field::Empty,
        );
        if let Some(parent) = TraceParent::from_headers(request.headers()) {
            span.record("trace.parent", parent.as_str());
        }
        let in_flight = gauge!(IN_FLIGHT, "method" => method);
        in_flight.increment(1);
        let call = Self {
            started: Instant::now(),
            method,
            span,
            in_flight,
        };
        (id, call)
    }

    fn surround(self, id: RequestId, mut response: Response<Body>) -> Response<Body> {
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        if let Some(code) = code_of(response.headers()) {
            self.end(code);
            return response;
        }
        response.map(|body| {
            let call = Some(self);
            Body::new(Answered { body, call })
        })
    }

    fn end(self, code: Code) {
        let latency = self.started.elapsed();
        let (method, latency_us) = (self.method, latency.as_micros());
        self.span.in_scope(|| match code {
            Code::Internal | Code::Unavailable | Code::Unknown | Code::DataLoss => {
                tracing::warn!(grpc.code = ?code, latency_us, "{method} ended with {code:?}");
            }
            _ => tracing::debug!(grpc.code = ?code, latency_us, "{method} ended with {code:?}"),
        });
        histogram!(DURATION, "method" => method, "code" => format!("{code:?}")).record(latency.as_secs_f64());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.in_flight.decrement(1);
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(GRPC_STATUS)
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// The body of an answer, which tells how the call ended: by its trailers, or that the caller went away.
struct Answered {
    body: Body,
    call: Option<Call>,
}

impl Answered {
    fn end(&mut self, code: Code) {
        if let Some(call) = self.call.take() {
            call.end(code);
        }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_of) {
                    self.end(code);
                }
            }
            Some(Err(_)) => self.end(Code::Unknown),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
