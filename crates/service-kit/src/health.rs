//! `/healthz`, `/readyz` and `/metrics`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::json::Json;

type Name = Cow<'static, str>;

/// Named conditions, each ready or not for a reason. The service is ready when all are.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<RwLock<BTreeMap<Name, Option<String>>>>);

/// One condition that keeps a service from being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReady {
    pub condition: String,
    pub reason: String,
}

impl Readiness {
    /// With conditions that are known from the start and not met yet.
    pub fn awaiting(conditions: impl IntoIterator<Item = &'static str>) -> Self {
        let readiness = Self::default();
        for condition in conditions {
            readiness.set_not_ready(condition, "starting");
        }
        readiness
    }

    pub fn set_ready(&self, condition: impl Into<Name>) {
        let condition = condition.into();
        let before = self.0.write().insert(condition.clone(), None);
        if let Some(Some(reason)) = before {
            tracing::info!(%condition, "Ready: {condition}, after {reason}");
        }
    }

    pub fn set_not_ready(&self, condition: impl Into<Name>, reason: impl Into<String>) {
        let (condition, reason) = (condition.into(), reason.into());
        let before = self.0.write().insert(condition.clone(), Some(reason.clone()));
        if before != Some(Some(reason.clone())) {
            tracing::info!(%condition, "Not ready: {condition}: {reason}");
        }
    }

    /// Forgets a condition, such as that of a partition this instance no longer has.
    pub fn remove(&self, condition: &str) {
        self.0.write().remove(condition);
    }

    pub fn is_ready(&self) -> bool {
        self.0.read().values().all(Option::is_none)
    }

    pub fn reasons(&self) -> Vec<NotReady> {
        let conditions = self.0.read();
        let unmet = conditions.iter().filter_map(|(condition, reason)| {
            let reason = reason.clone()?;
            Some(NotReady {
                condition: condition.clone().into_owned(),
                reason,
            })
        });
        unmet.collect()
    }
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<NotReady>,
}

/// Needs no authentication; the metrics name routes, never people.
pub fn health_router<S: Clone + Send + Sync + 'static>(
    readiness: Readiness,
    metrics: PrometheusHandle,
) -> Router<S> {
    Router::new()
        .route(
            "/healthz",
            get(async || {
                Json(Report {
                    status: "alive",
                    reasons: vec![],
                })
            }),
        )
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        Json(Report {
            status: "ready",
            reasons,
        })
        .into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Report {
                status: "not-ready",
                reasons,
            }),
        )
            .into_response()
    }
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        metrics.render(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry;
    use crate::testing::get as fetch;

    #[tokio::test]
    async fn readiness_names_every_reason_and_recovers() {
        let readiness = Readiness::awaiting(["log", "catalog"]);
        let router: Router = health_router(readiness.clone(), telemetry::init_metrics().unwrap());
        readiness.set_ready("catalog");
        let answer = fetch(router.clone(), "/readyz").await;
        assert_eq!(answer.status, 503);
        let reasons = json!([{ "condition": "log", "reason": "starting" }]);
        assert_eq!(answer.body, json!({ "status": "not-ready", "reasons": reasons }));
        readiness.remove("log");
        assert_eq!(
            fetch(router.clone(), "/readyz").await.body,
            json!({ "status": "ready" })
        );
        assert_eq!(fetch(router, "/healthz").await.status, 200);
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let router: Router = health_router(Readiness::default(), telemetry::init_metrics().unwrap());
        metrics::counter!("health_test_total").increment(2);
        let answer = fetch(router, "/metrics").await;
        assert!(answer.text.contains("health_test_total 2"));
        assert!(
            answer
                .header("content-type")
                .starts_with("text/plain; version=0.0.4")
        );
    }
}
