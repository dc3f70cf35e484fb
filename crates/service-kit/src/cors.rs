//! Which pages of other origins may call from a browser (CORS, of the Fetch standard).

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Uri};
use clap::Args;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::at_least::{ROLECALL_AT_LEAST, ROLECALL_TOKEN};
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::request_id::{TRACEPARENT, X_REQUEST_ID};

/// A browser that was told what a page may do asks again after this.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Pages that may call.
#[derive(Args, Clone, Debug, Default)]
pub struct AllowedOrigins {
    /// Origins of pages that may call from a browser, by commas, such as https://app.example.org; none by default.
    #[arg(long, env = "ROLECALL_ALLOWED_ORIGINS", default_value = "", value_parser = origins)]
    pub allowed_origins: Origins,
}

#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<HeaderValue>);

impl AllowedOrigins {
    /// Wraps a service's whole router: a page must be able to read a refusal too, and a browser asks before it sends
    /// what proves who calls. Changes nothing if no origin is allowed.
    pub fn around(&self, router: Router) -> Router {
        if self.allowed_origins.0.is_empty() {
            return router;
        }
        router.layer(self.layer())
    }

    /// Without credentials of the browser's own, such as cookies: callers bring tokens.
    fn layer(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.allowed_origins.0.clone()))
            .allow_methods([
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                IDEMPOTENCY_KEY,
                ROLECALL_AT_LEAST,
                X_REQUEST_ID,
                TRACEPARENT,
            ])
            .expose_headers([ROLECALL_TOKEN, RETRY_AFTER, X_REQUEST_ID])
            .max_age(MAX_AGE)
    }
}

fn origins(text: &str) -> Result<Origins, String> {
    let named = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    named.map(origin).collect::<Result<_, _>>().map(Origins)
}

/// As browsers send it, or it would never be met: in lower case, without a path and without the scheme's usual port.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let refused = || format!("{text} is not the origin of a page, such as https://app.example.org");
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refused());
    };
    let usual_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let has_usual_port = usual_port.is_some() && authority.port_u16() == usual_port;
    let is_whole = text == format!("{scheme}://{authority}");
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if has_usual_port || !is_whole || !is_lower || text.contains('@') {
        return Err(refused());
    }
    HeaderValue::from_str(text).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::http::header::ORIGIN;
    use axum::routing::post;
    use clap::Parser;

    use super::*;
    use crate::http::standard;
    use crate::problem::ProblemType;
    use crate::testing::{Answer, send};

    const APP: &str = "https://app.example.org";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        origins: AllowedOrigins,
    }

    fn allowed(arguments: &[&str]) -> AllowedOrigins {
        let line = ["service"].iter().chain(arguments);
        Line::try_parse_from(line).unwrap().origins
    }

    async fn ask(origins: &AllowedOrigins, method: &str, path: &str, from: &str) -> Answer {
        let routes = Router::new().route("/write", post(async || ProblemType::Forbidden));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ORIGIN, from)
            .header("access-control-request-method", "POST");
        let router = origins.around(standard(routes));
        send(router, request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn a_browser_that_asks_first_learns_what_a_page_may_send() {
        let origins = allowed(&[
            "--allowed-origins",
            "https://other.example.org, https://app.example.org",
        ]);
        let answer = ask(&origins, "OPTIONS", "/write", APP).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), APP);
        assert_eq!(answer.header("access-control-max-age"), "600");
        let methods = answer.header("access-control-allow-methods");
        assert!(
            methods.contains("PATCH") && methods.contains("DELETE"),
            "{methods}"
        );
        let headers = answer.header("access-control-allow-headers");
        for header in [
            "authorization",
            "content-type",
            "idempotency-key",
            "rolecall-at-least",
        ] {
            assert!(headers.contains(header), "{headers}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }

    #[tokio::test]
    async fn a_page_reads_refusals_as_well() {
        let origins = allowed(&["--allowed-origins", APP]);
        for (method, path, status) in [
            ("POST", "/write", 403),
            ("GET", "/write", 405),
            ("GET", "/nowhere", 404),
        ] {
            let answer = ask(&origins, method, path, APP).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), APP);
            let exposed = answer.header("access-control-expose-headers");
            assert!(
                exposed.contains("rolecall-token") && exposed.contains("retry-after"),
                "{exposed}"
            );
        }
    }

    #[tokio::test]
    async fn a_page_that_is_not_named_may_nothing() {
        let named = allowed(&["--allowed-origins", APP]);
        for (method, from) in [("OPTIONS", "https://evil.example.org"), ("POST", "null")] {
            let answer = ask(&named, method, "/write", from).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                "",
                "{method} {from}"
            );
        }
        let none = allowed(&["--allowed-origins", ""]);
        assert_eq!(ask(&none, "OPTIONS", "/write", APP).await.status, 405);
        let answer = ask(&none, "POST", "/write", APP).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert!(!answer.headers.contains_key("vary"));
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for good in [
            APP,
            "http://localhost:5173",
            "http://[::1]:8080",
            "tauri://localhost",
        ] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/page",
            "https://App.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://me@app.example.org",
            "https://app.example.org?x",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
