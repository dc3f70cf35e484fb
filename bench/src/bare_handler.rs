//! The handler that checks are measured against: reads the same body, answers the same JSON, and
//! does nothing else.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Evaluation<'a> {
    #[serde(borrow)]
    subject: Thing<'a>,
    #[serde(borrow)]
    action: Action<'a>,
    #[serde(borrow)]
    resource: Thing<'a>,
}

#[derive(Deserialize)]
struct Thing<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Serialize)]
struct Answer {
    decision: bool,
    context: Context,
}

#[derive(Serialize)]
struct Context {
    reason: &'static str,
    role_id: &'static str,
}

/// Some role, as an answer of the query service names one.
const ROLE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn answer(body: Bytes) -> Response {
    let Ok(asked) = serde_json::from_slice::<Evaluation<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // Looked at, so that the parsing cannot be optimised away.
    let decision = !asked.subject.kind.is_empty()
        && !asked.subject.id.is_empty()
        && !asked.action.name.is_empty()
        && !asked.resource.kind.is_empty()
        && !asked.resource.id.is_empty();
    Json(Answer {
        decision,
        context: Context {
            reason: "granted",
            role_id: ROLE,
        },
    })
    .into_response()
}

/// Served as Rolecall's services are, without what surrounds their routes.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/access/v1/evaluation", post(answer));
    let shutdown = service_kit::shutdown_signal()?;
    let listener = service_kit::bind(address).await?;
    service_kit::serve(listener, router, shutdown, Duration::from_secs(1)).await?;
    Ok(())
}
