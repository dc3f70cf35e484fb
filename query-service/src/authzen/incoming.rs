//! What every AuthZEN call brings besides what its body says.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::problem::{Problem, ProblemType};

use super::Plain;
use crate::app::App;

/// An authenticated call with its body still to be read.
pub struct Incoming {
    pub caller: Caller,
    pub at_least: AtLeast,
    pub body: Bytes,
}

impl FromRequest<Arc<App>> for Incoming {
    type Rejection = Plain;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Plain> {
        let headers = request.headers();
        let caller = Caller::from_headers(headers, &**app)
            .await?
            .ok_or(Problem::new(ProblemType::Unauthenticated))?;
        let at_least = AtLeast::from_headers(headers, app.node.log_id())?;
        if !is_json(headers) {
            return Err(Plain::bad_request("send Content-Type: application/json"));
        }
        let body = Bytes::from_request(request, app).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(ProblemType::BodyTooLarge).into()
            } else {
                Plain::bad_request("the body could not be read to its end")
            }
        })?;
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
