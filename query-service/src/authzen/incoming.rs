//! What every AuthZEN call brings besides what its body says.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::json;
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;

/// An authenticated call with its body still to be read.
pub struct Incoming {
    pub caller: Caller,
    pub at_least: AtLeast,
    pub body: Bytes,
}

impl FromRequest<Arc<App>> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let headers = request.headers();
        let caller = Caller::from_headers(headers, &**app)
            .await?
            .ok_or(Problem::new(ProblemType::Unauthenticated))?;
        let at_least = AtLeast::from_headers(headers, app.node.log_id())?;
        if !is_json(headers) {
            let problem = Problem::new(ProblemType::UnsupportedMediaType);
            return Err(problem.detail("send Content-Type: application/json"));
        }
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(|rejection| json::unreadable(&rejection))?;
        Ok(Self {
            caller,
            at_least,
            body,
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
