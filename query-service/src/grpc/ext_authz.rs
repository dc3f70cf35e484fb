//! `envoy.service.auth.v3.Authorization`: may this request, which a proxy holds, go on?
//!
//! The proxy proves itself by the call's metadata, the user by the request's own bearer token. What the request is about
//! is told by the proxy's route. Whatever is wrong denies the request; a proxy that fails open is not given an error to
//! do so, unless its own credential is refused.

use std::collections::HashMap;

use axum::body::to_bytes;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse as _;
use domain::rolecall_permissions::Permission;
use envoy_types::ext_authz::v3::pb::{
    Authorization, CheckRequest, CheckResponse, HeaderAppendAction, HttpStatusCode,
};
use envoy_types::ext_authz::v3::{CheckResponseExt as _, DeniedHttpResponseBuilder, OkHttpResponseBuilder};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use percent_encoding::percent_decode_str;
use service_kit::at_least::{AtLeast, ROLECALL_AT_LEAST};
use service_kit::auth::Caller;
use service_kit::problem::{Problem, ProblemType};
use tonic::{Request, Response, Status};

use super::door::Door;
use super::status::status;
use crate::authzen::{Action, Evaluation, Question, Resource, Subject};

/// Of the route: the resource type that its requests are about.
const RESOURCE: &str = "rolecall.resource";
/// Of the route: what its requests do; their method in small letters by default.
const ACTION: &str = "rolecall.action";
/// Of the route: where the resource's id stands in the path, such as `/documents/{id}`; `*` is any one segment, and what
/// follows the id is not looked at. Without it, requests are about no one resource of the type.
const ID: &str = "rolecall.id";
const HOLE: &str = "{id}";

/// What only we may tell the service behind the proxy.
const OURS: &str = "x-rolecall-";
const USER: &str = "x-rolecall-user";
const ROLE: &str = "x-rolecall-role";
const TOKEN: &str = "x-rolecall-token";

#[tonic::async_trait]
impl Authorization for Door {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let proxy = self.caller(request.metadata()).await?;
        let may = self.app.require(proxy, Permission::AccessCheck);
        may.map_err(|problem| status(&problem))?;
        let asked = request.into_inner().attributes.unwrap_or_default();
        let answer = match self.pass(&asked).await {
            Ok(pass) => pass.answer(&asked),
            Err(problem) => denied(problem).await?,
        };
        Ok(Response::new(answer))
    }
}

/// What lets a request pass.
struct Pass {
    user: String,
    role: String,
    token: String,
}

impl Door {
    async fn pass(&self, asked: &AttributeContext) -> Result<Pass, Problem> {
        let request = asked.request.as_ref().and_then(|request| request.http.as_ref());
        let request = request.ok_or_else(|| misrouted("the proxy passes on no request of HTTP"))?;
        let headers = own_headers(&request.headers)?;
        let caller = Caller::from_headers(&headers, &*self.app).await?;
        let caller = caller.ok_or(ProblemType::Unauthenticated)?;
        let at_least = AtLeast::from_headers(&headers, self.app.node.log_id())?;
        let route = Route::of(&asked.context_extensions, request)?;

        let user = caller.user_id.to_string();
        let question = route.question(&user)?;
        let (answer, token) = self.decide(caller, &at_least, &question).await?;
        if !answer.decision {
            let needed = format!("this needs {} on {}", route.action, route.resource);
            let denied = Problem::new(ProblemType::Forbidden).detail(needed);
            return Err(denied.extension("reason", answer.context.reason.unwrap_or_default()));
        }
        let role = answer
            .context
            .role_id
            .map(|id| id.to_string())
            .unwrap_or_default();
        Ok(Pass {
            user,
            role,
            token: token.to_string(),
        })
    }
}

/// What a request is about.
struct Route<'a> {
    resource: &'a str,
    action: String,
    /// Empty for none.
    id: String,
}

impl<'a> Route<'a> {
    fn of(said: &'a HashMap<String, String>, request: &HttpRequest) -> Result<Self, Problem> {
        let said = |name: &str| said.get(name).filter(|text| !text.is_empty());
        let resource =
            said(RESOURCE).ok_or_else(|| misrouted("the proxy's route has no rolecall.resource"))?;
        let action = said(ACTION).cloned();
        Ok(Self {
            resource,
            action: action.unwrap_or_else(|| request.method.to_ascii_lowercase()),
            id: match said(ID) {
                Some(template) => id_of(template, &request.path).ok_or_else(unfit)?,
                None => String::new(),
            },
        })
    }

    fn question(&'a self, user: &'a str) -> Result<Question<'a>, Problem> {
        let asked = Evaluation {
            subject: Some(Subject {
                kind: "user".into(),
                id: user.into(),
                properties: None,
            }),
            action: Some(Action {
                name: self.action.as_str().into(),
                properties: None,
            }),
            resource: Some(Resource {
                kind: self.resource.into(),
                id: self.id.as_str().into(),
                properties: None,
            }),
            context: None,
        };
        Question::of(asked).map_err(|missing| Problem::new(ProblemType::InvalidBody).detail(missing))
    }
}

/// The segment of the path that stands in the template's hole, decoded. Nothing where the path has another form, or
/// where the service behind the proxy might read another id from it.
fn id_of(template: &str, path: &str) -> Option<String> {
    let path = path.split(['?', '#']).next()?;
    if !path.split('/').all(is_plain) {
        return None;
    }
    let mut segments = path.split('/');
    for part in template.split('/') {
        let segment = segments.next()?;
        match part {
            HOLE => return decoded(segment),
            "*" if !segment.is_empty() => {}
            same if same == segment => {}
            _ => return None,
        }
    }
    None
}

/// Whether every service reads this segment as the same one. Some take `.` and `..` for steps, before or after decoding,
/// and what follows a `;` for parameters.
fn is_plain(segment: &str) -> bool {
    let Ok(text) = percent_decode_str(segment).decode_utf8() else {
        return false;
    };
    let splits = |c: char| c.is_control() || matches!(c, '/' | '\\' | ';');
    text != "." && text != ".." && !text.contains(splits)
}

fn decoded(segment: &str) -> Option<String> {
    let id = percent_decode_str(segment).decode_utf8().ok()?;
    (!id.is_empty()).then(|| id.into_owned())
}

/// Those of the request that we read, as it had them.
fn own_headers(all: &HashMap<String, String>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for name in [AUTHORIZATION, ROLECALL_AT_LEAST] {
        if let Some(text) = all.get(name.as_str()) {
            let value = HeaderValue::from_str(text).map_err(|_| ProblemType::InvalidUtf8)?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// The proxy's configuration is wrong, which the user cannot help.
fn misrouted(why: &'static str) -> Problem {
    tracing::warn!("A request was denied because {why}");
    Problem::new(ProblemType::Forbidden).detail(why)
}

fn unfit() -> Problem {
    Problem::new(ProblemType::Forbidden).detail("the path names no one resource")
}

impl Pass {
    /// Tells the service behind the proxy who it is, and removes what others told it in our name.
    fn answer(self, asked: &AttributeContext) -> CheckResponse {
        let mut passed = OkHttpResponseBuilder::new();
        let told = [(USER, self.user), (ROLE, self.role), (TOKEN, self.token)];
        for (name, value) in told {
            // An empty one would be left as the client sent it.
            if value.is_empty() {
                passed.remove_header(name);
            } else {
                passed.add_header(
                    name,
                    value,
                    Some(HeaderAppendAction::OverwriteIfExistsOrAdd),
                    false,
                );
            }
        }
        let request = asked.request.as_ref().and_then(|request| request.http.as_ref());
        let names = request.iter().flat_map(|request| request.headers.keys());
        let forged = names.filter(|name| is_ours(name) && ![USER, ROLE, TOKEN].contains(&name.as_str()));
        for name in forged {
            passed.remove_header(name);
        }
        let mut answer = CheckResponse::with_status(Status::ok(""));
        answer.set_http_response(passed);
        answer
    }
}

fn is_ours(name: &str) -> bool {
    name.get(..OURS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

/// The answer that the user gets: the problem as over HTTP.
async fn denied(problem: Problem) -> Result<CheckResponse, Status> {
    let (why, response) = (status(&problem), problem.into_response());
    let code = i32::from(response.status().as_u16());
    let mut denied = DeniedHttpResponseBuilder::new();
    denied.set_http_status(HttpStatusCode::try_from(code).unwrap_or(HttpStatusCode::Forbidden));
    for (name, value) in response.headers() {
        if let (true, Ok(value)) = (is_passed_on(name), value.to_str()) {
            let action = Some(HeaderAppendAction::OverwriteIfExistsOrAdd);
            denied.add_header(name.as_str(), value, action, false);
        }
    }
    let body = to_bytes(response.into_body(), usize::MAX).await;
    let body = body.map_err(|_| status(&ProblemType::Internal.into()))?;
    denied.set_body(String::from_utf8_lossy(&body));
    let mut answer = CheckResponse::with_status(why);
    answer.set_http_response(denied);
    Ok(answer)
}

/// The proxy counts the body itself.
fn is_passed_on(name: &HeaderName) -> bool {
    name != axum::http::header::CONTENT_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stands_where_the_template_has_its_hole() {
        let found = |template, path| id_of(template, path);
        let document = "/documents/{id}";
        assert_eq!(found(document, "/documents/7").as_deref(), Some("7"));
        assert_eq!(found(document, "/documents/7/pages/2?x=/y").as_deref(), Some("7"));
        assert_eq!(found(document, "/documents/a%20b?q").as_deref(), Some("a b"));
        assert_eq!(
            found("/of/*/documents/{id}", "/of/acme/documents/7").as_deref(),
            Some("7")
        );
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_names_nothing() {
        for path in [
            "",
            "/",
            "/documents",
            "/documents/",
            "/Documents/7",
            "/documents/?id=7",
            "/documents//7",
            "/documents/..",
            "/documents/%2e%2e",
            "/documents/a%2Fb",
            "/documents/a%5cb",
            "/documents/a%00",
            "/documents/%ff",
            "//documents/7",
            "/documents/7/../8",
            "/documents/7/%2e%2e/8",
            "/documents/7/./8",
            "/documents/7/..;/8",
            "/documents/..;/admin",
            "/documents/7;v=1",
            "/documents/7%3bv=1",
            "/documents/7/a%5cb",
        ] {
            assert_eq!(id_of("/documents/{id}", path), None, "{path}");
        }
        for path in ["/of//documents/7", "/of/../documents/7", "/of/%2e/documents/7"] {
            assert_eq!(id_of("/of/*/documents/{id}", path), None, "{path}");
        }
        assert_eq!(id_of("/documents", "/documents"), None);
    }
}
