//! `grpc.health.v1.Health`: what `/readyz` says, for whoever asks over gRPC.

use std::time::Duration;

use access_proto::v1::access_server;
use service_kit::health::Readiness;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The whole service, and what it serves.
const SERVICES: [&str; 3] = [
    "",
    access_server::SERVICE_NAME,
    envoy_types::pb::envoy::service::auth::v3::authorization_server::SERVICE_NAME,
];

#[derive(Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Not serving yet.
    pub async fn starting() -> Self {
        let health = Self(HealthReporter::new());
        health.tell(ServingStatus::NotServing).await;
        health
    }

    pub fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }

    /// Says what `readiness` does. Once the service stops, whoever watches is let go.
    pub async fn follow(mut self, readiness: Readiness, stopping: CancellationToken) {
        let mut told = false;
        while !stopping.is_cancelled() {
            let ready = readiness.is_ready();
            if ready != told {
                told = ready;
                let status = if ready {
                    ServingStatus::Serving
                } else {
                    ServingStatus::NotServing
                };
                self.tell(status).await;
            }
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        self.tell(ServingStatus::NotServing).await;
        for service in SERVICES {
            self.0.clear_service_status(service).await;
        }
    }

    async fn tell(&self, status: ServingStatus) {
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }
}
