//! POST /oauth/introspect (RFC 7662): is this access token good at this moment?

use std::sync::Arc;

use access_node::KeyStanding;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Response};
use domain::rolecall_permissions::Permission;
use schemas::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use service_kit::assurance::Assurance;
use service_kit::at_least::{AtLeast, no_store};
use service_kit::auth::{Authenticate, Caller, SessionState, Standings as _};
use service_kit::json::Json;
use service_kit::jwt::AccessClaims;
use service_kit::problem::{Problem, ProblemDetails, ProblemType};
use service_kit::service_key::ServiceKey;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::freshness::{WAIT, not_yet};

#[derive(Deserialize, ToSchema)]
pub struct IntrospectRequest {
    token: String,
    /// Taken and not needed: only access tokens are introspected here.
    #[serde(rename = "token_type_hint")]
    #[schema(example = "access_token")]
    _token_type_hint: Option<String>,
}

/// `{"active": false}`, or what the token says.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Introspection {
    Inactive(Inactive),
    Active(Box<IntrospectedClaims>),
}

/// `active` alone.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Inactive {
    active: bool,
}

#[derive(Serialize, ToSchema)]
pub struct IntrospectedClaims {
    active: bool,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    iss: String,
    #[schema(value_type = Uuid)]
    sub: UserId,
    aud: String,
    #[schema(value_type = String)]
    client_id: Arc<str>,
    /// Absent for a key of a service account, as is `iat`; of such a key `client_id` is the account and `jti` the key.
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    jti: Uuid,
    /// Seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Absent for a key that is good until it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When the user last proved who they are, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// How sure it is: `aal2` after two factors of different kinds, else `aal1`. Absent for a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<Assurance>,
    /// How they did (RFC 8176). Absent for a key.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<Arc<[String]>>,
}

/// Whether a token is good at this moment
///
/// Exact, other than a check by signature alone: the session lives and the user is active, as of
/// the positions that `Rolecall-Token` names. Needs the permission `rolecall.token_introspect`.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    tag = "tokens",
    request_body(content = IntrospectRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What is known of the token", body = Introspection),
        (status = 400, description = "No token was sent", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "No valid access token of the caller", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not introspect", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "What is demanded is not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn introspect(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
    form: Result<Form<IntrospectRequest>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(request) = form.map_err(|rejection| refused(&rejection))?;
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::TokenIntrospect)?;
    if let Some(key) = ServiceKey::parse(&request.token) {
        let token = app.basis(key.user_id);
        let answer = of_key(&app, &key).await?;
        return Ok((no_store(), token, Json(answer)).into_response());
    }
    let Ok(claims) = app.verifier.verify(&request.token, app.now()) else {
        // That a token is no token of ours rests on no position.
        return Ok((no_store(), app.token([]), Json(INACTIVE)).into_response());
    };
    let token = app.basis(claims.user_id);
    let answer = if is_live(&app, &claims).await? {
        active(&app, claims)
    } else {
        INACTIVE
    };
    Ok((no_store(), token, Json(answer)).into_response())
}

const INACTIVE: Introspection = Introspection::Inactive(Inactive { active: false });

async fn is_live(app: &App, claims: &AccessClaims) -> Result<bool, Problem> {
    let (user, session, now) = (claims.user_id, claims.session_id, app.now());
    let state = match app.node.session_state(user, session, now) {
        SessionState::Unknown => app.node.settle_session(user, session, now).await,
        known => known,
    };
    match state {
        SessionState::Live => Ok(true),
        SessionState::Ended | SessionState::UserInactive => Ok(false),
        // Neither answer would be known to be true.
        SessionState::Unknown => Err(not_yet()),
    }
}

fn active(app: &App, claims: AccessClaims) -> Introspection {
    Introspection::Active(Box::new(IntrospectedClaims {
        active: true,
        token_type: "Bearer",
        iss: app.tokens.issuer.clone(),
        sub: claims.user_id,
        aud: app.tokens.audience.clone(),
        client_id: claims.client_id,
        sid: Some(claims.session_id),
        jti: claims.token_id,
        iat: Some(seconds(claims.issued_at)),
        exp: Some(seconds(claims.expires_at)),
        auth_time: claims.authentication.at.map(seconds),
        acr: Some(claims.authentication.assurance()),
        amr: Some(claims.authentication.methods),
    }))
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}

/// As of the end of the account's partition where the key is not known.
async fn of_key(app: &App, key: &ServiceKey) -> Result<Introspection, Problem> {
    let (user, id, now) = (key.user_id, key.key_id, app.now());
    let standing = app
        .node
        .settled_key_standing(user, id, key.hash(), now, WAIT)
        .await;
    let expires_at = match standing {
        KeyStanding::Good { expires_at } => expires_at,
        KeyStanding::Bad => return Ok(INACTIVE),
        KeyStanding::Unknown => return Err(not_yet()),
    };
    Ok(Introspection::Active(Box::new(IntrospectedClaims {
        active: true,
        token_type: "Bearer",
        iss: app.tokens.issuer.clone(),
        sub: user,
        aud: app.tokens.audience.clone(),
        client_id: user.to_string().into(),
        sid: None,
        jti: id.as_uuid(),
        iat: None,
        exp: expires_at.map(seconds),
        auth_time: None,
        acr: None,
        amr: None,
    })))
}

/// OAuth clients look for `error`; the rest is as everywhere.
fn refused(rejection: &FormRejection) -> Problem {
    let (kind, detail) = match rejection {
        FormRejection::InvalidFormContentType(_) => (
            ProblemType::UnsupportedMediaType,
            "send the body with Content-Type: application/x-www-form-urlencoded",
        ),
        FormRejection::BytesRejection(error) => return service_kit::json::unreadable(error),
        _ => (ProblemType::InvalidParameter, "send one form field token"),
    };
    Problem::new(kind)
        .detail(detail)
        .extension("error", "invalid_request")
}
