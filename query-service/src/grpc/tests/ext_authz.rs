//! As Envoy asks: what it is told of a request of HTTP, and what it does with the answer.

use std::collections::HashMap;

use envoy_types::ext_authz::v3::pb::{CheckRequest, CheckResponse, HeaderAppendAction, HttpResponse};
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as Asked};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, DeniedHttpResponse, OkHttpResponse};
use schemas::{Position, Timestamp, UserId};
use serde_json::Value;
use tonic::{Code, Request, Status};

use super::Served;
use crate::testing::{ADMIN, ALICE, BOB, EDITOR, TestApp};

/// A request at the proxy: PUT of a document, by its route an act of writing.
struct AtProxy {
    headers: HashMap<String, String>,
    route: HashMap<String, String>,
    method: &'static str,
    path: &'static str,
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

impl AtProxy {
    fn with(token: &str) -> Self {
        Self {
            headers: map([("authorization", &format!("Bearer {token}")), (":method", "PUT")]),
            route: map([
                ("rolecall.resource", "document"),
                ("rolecall.action", "write"),
                ("rolecall.id", "/documents/{id}"),
            ]),
            method: "PUT",
            path: "/documents/7?draft=1",
        }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn message(self) -> CheckRequest {
        let http = HttpRequest {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            headers: self.headers,
            ..HttpRequest::default()
        };
        let request = Asked {
            http: Some(http),
            ..Asked::default()
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(request),
                context_extensions: self.route,
                ..AttributeContext::default()
            }),
        }
    }
}

impl Served {
    async fn proxied(&self, proxy: UserId, request: AtProxy) -> Result<CheckResponse, Status> {
        let mut client = AuthorizationClient::new(self.channel.clone());
        let answered = client.check(self.by(proxy, request.message())).await?;
        Ok(answered.into_inner())
    }

    async fn passed(&self, request: AtProxy) -> OkHttpResponse {
        let answer = self.proxied(ADMIN, request).await.unwrap();
        assert_eq!(answer.status.as_ref().unwrap().code, 0, "{answer:?}");
        match answer.http_response {
            Some(HttpResponse::OkResponse(passed)) => passed,
            other => panic!("{other:?}"),
        }
    }

    /// Status, and the problem.
    async fn denied(&self, request: AtProxy) -> (DeniedHttpResponse, i32, Value) {
        let answer = self.proxied(ADMIN, request).await.unwrap();
        assert_ne!(answer.status.as_ref().unwrap().code, 0, "{answer:?}");
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
            panic!("{answer:?}")
        };
        let code = denied.status.as_ref().unwrap().code;
        let problem: Value = serde_json::from_str(&denied.body).unwrap();
        assert_eq!(problem["status"], code);
        assert_eq!(
            value_of(&denied.headers, "content-type"),
            Some("application/problem+json")
        );
        (denied, code, problem)
    }

    async fn slug(&self, request: AtProxy) -> (i32, String) {
        let (_, code, problem) = self.denied(request).await;
        let slug = problem["type"].as_str().unwrap().rsplit('/').next().unwrap();
        (code, slug.to_owned())
    }
}

fn value_of<'a>(headers: &'a [HeaderValueOption], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter_map(|option| option.header.as_ref());
    found
        .find(|header| header.key == name)
        .map(|header| header.value.as_str())
}

#[tokio::test]
async fn who_may_passes_and_the_service_behind_is_told_who_it_is() {
    let served = Served::start().await;
    let granted = served.test.grant(BOB, EDITOR, None);
    let passed = served.passed(AtProxy::with(&served.test.access_token(BOB))).await;
    assert_eq!(
        value_of(&passed.headers, "x-rolecall-user"),
        Some(BOB.to_string().as_str())
    );
    assert_eq!(
        value_of(&passed.headers, "x-rolecall-role"),
        Some(EDITOR.to_string().as_str())
    );
    let token = value_of(&passed.headers, "x-rolecall-token").unwrap();
    let token = token.parse::<service_kit::ConsistencyToken>().unwrap();
    assert!(token.covers(&served.test.app.token([granted])));
}

#[tokio::test]
async fn what_a_client_says_in_our_name_does_not_arrive() {
    let served = Served::start().await;
    served.test.grant(BOB, EDITOR, None);
    let forged = AtProxy::with(&served.test.access_token(BOB))
        .header("x-rolecall-user", &ADMIN.to_string())
        .header("x-rolecall-admin", "yes")
        .header("x-other", "kept");
    let passed = served.passed(forged).await;
    assert_eq!(
        value_of(&passed.headers, "x-rolecall-user"),
        Some(BOB.to_string().as_str())
    );
    let overwrite = i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd);
    assert!(
        passed
            .headers
            .iter()
            .all(|header| header.append_action == overwrite)
    );
    assert_eq!(passed.headers_to_remove, ["x-rolecall-admin"]);
}

#[tokio::test]
async fn who_may_not_is_told_why_by_a_problem() {
    let served = Served::start().await;
    let (_, code, problem) = served.denied(AtProxy::with(&served.test.access_token(BOB))).await;
    assert_eq!((code, problem["reason"].as_str()), (403, Some("no_grant")));
    assert_eq!(problem["type"], "https://rolecall.dev/errors/forbidden");
    // What the proxy says is done otherwise, by default its method.
    served.test.grant(BOB, EDITOR, None);
    let mut by_method = AtProxy::with(&served.test.access_token(BOB));
    by_method.route.remove("rolecall.action");
    let (_, code, problem) = served.denied(by_method).await;
    assert_eq!(
        (code, problem["reason"].as_str()),
        (403, Some("no_such_permission"))
    );
    assert_eq!(problem["detail"], "this needs put on document");
}

#[tokio::test]
async fn without_a_token_that_counts_it_is_401() {
    let served = Served::start().await;
    served.test.grant(BOB, EDITOR, None);
    let mut none = AtProxy::with("");
    none.headers.remove("authorization");
    let (denied, code, _) = served.denied(none).await;
    assert_eq!(
        (code, value_of(&denied.headers, "www-authenticate")),
        (401, Some("Bearer realm=\"rolecall\""))
    );

    let old = Timestamp::from_micros(Timestamp::now().as_micros() - 301_000_000);
    let good = served.test.access_token(BOB);
    let refused = |code, slug: &str| (code, slug.to_owned());
    for (token, slug) in [
        (served.test.access_token_issued(BOB, old), "token-expired"),
        (TestApp::new().access_token(BOB), "unauthenticated"),
        // As Envoy joins a header that came twice.
        (format!("{good},Bearer {good}"), "unauthenticated"),
        ("\u{7f}".to_owned(), "invalid-utf8"),
    ] {
        let found = served.slug(AtProxy::with(&token)).await;
        let code = if slug == "invalid-utf8" { 400 } else { 401 };
        assert_eq!(found, refused(code, slug));
    }
    served.test.log_out(BOB);
    assert_eq!(
        served.slug(AtProxy::with(&good)).await,
        refused(401, "session-ended")
    );
}

#[tokio::test]
async fn the_proxy_itself_needs_the_right_to_ask() {
    let served = Served::start().await;
    let request = || AtProxy::with(&served.test.access_token(BOB));
    let refused = served.proxied(ALICE, request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut client = AuthorizationClient::new(served.channel.clone());
    let refused = client.check(Request::new(request().message())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_route_that_says_too_little_lets_nobody_pass() {
    let served = Served::start().await;
    served.test.grant(BOB, EDITOR, None);
    let token = served.test.access_token(BOB);
    let mut unnamed = AtProxy::with(&token);
    unnamed.route.remove("rolecall.resource");
    let mut elsewhere = AtProxy::with(&token);
    elsewhere.path = "/other/7";
    let mut climbing = AtProxy::with(&token);
    climbing.path = "/documents/7%2f..%2f8";
    for request in [unnamed, elsewhere, climbing] {
        assert_eq!(served.slug(request).await, (403, "forbidden".to_owned()));
    }
    let mut client = AuthorizationClient::new(served.channel.clone());
    let nothing = client
        .check(served.by(ADMIN, CheckRequest { attributes: None }))
        .await;
    assert_ne!(nothing.unwrap().into_inner().status.unwrap().code, 0);
    // Of no one document: what counts for all counts.
    let mut all = AtProxy::with(&token);
    all.route.remove("rolecall.id");
    served.passed(all).await;
}

#[tokio::test]
async fn what_the_client_demands_to_be_reflected_is_waited_for() {
    let served = Served::start().await;
    let granted = served.test.grant(BOB, EDITOR, None);
    let next = Position {
        offset: granted.offset + 1,
        ..granted
    };
    let token = served.test.access_token(BOB);
    let demanded = || AtProxy::with(&token).header("rolecall-at-least", &served.test.token_of(next));
    let (denied, code, _) = served.denied(demanded()).await;
    assert_eq!((code, value_of(&denied.headers, "retry-after")), (503, Some("1")));
    served.test.revoke(BOB, EDITOR);
    assert_eq!(served.slug(demanded()).await.0, 403);
    let broken = AtProxy::with(&token).header("rolecall-at-least", "x");
    assert_eq!(
        served.slug(broken).await,
        (400, "invalid-token-header".to_owned())
    );
}
