//! A server with everything around it, and clients that tonic made from the contract.

mod bulk;
mod checks;
mod ext_authz;
mod serving;

use std::sync::Arc;

use access_proto::v1::access_client::AccessClient;
use access_proto::v1::{Action, CheckRequest, CheckResponse, Consistency, Resource, Subject};
use schemas::UserId;
use service_kit::health::Readiness;
use service_kit::serve::{Doors, ServeError, serve};
use service_kit::{Listener, Protocol, bind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::{Health, router, starting_router};
use crate::testing::TestApp;

struct Served {
    test: TestApp,
    address: String,
    channel: Channel,
    doors: Doors,
    health: Health,
    readiness: Readiness,
    stopping: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start() -> Self {
        let served = Self::starting().await;
        served.open();
        served
    }

    /// As before the log is read.
    async fn starting() -> Self {
        let (health, stopping) = (Health::starting().await, CancellationToken::new());
        let socket = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let listener = Listener::from(socket).speaking(Protocol::Http2);
        let address = listener.local_addr().unwrap();
        let doors = Doors::from(starting_router(&health));
        let grace = std::time::Duration::from_secs(20);
        let serving = tokio::spawn(serve(listener, doors.clone(), stopping.clone(), grace));
        let readiness = Readiness::awaiting(["log"]);
        tokio::spawn(health.clone().follow(readiness.clone(), stopping.clone()));
        let address = format!("http://{address}");
        let channel = Endpoint::from_shared(address.clone()).unwrap();
        Self {
            test: TestApp::new(),
            address,
            channel: channel.connect_lazy(),
            doors,
            health,
            readiness,
            stopping,
            serving,
        }
    }

    fn open(&self) {
        let app = Arc::clone(&self.test.app);
        self.doors
            .open(router(app, &self.health, self.stopping.clone()).unwrap());
        self.readiness.set_ready("log");
    }

    fn access(&self) -> AccessClient<Channel> {
        AccessClient::new(self.channel.clone())
    }

    /// With this user's access token.
    fn by<T>(&self, user: UserId, message: T) -> Request<T> {
        with_token(&self.test.access_token(user), message)
    }

    async fn check(&self, caller: UserId, asked: CheckRequest) -> Result<CheckResponse, Status> {
        let answered = self.access().check(self.by(caller, asked)).await?;
        Ok(answered.into_inner())
    }
}

fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// May this user write a document?
fn may_write(user: UserId) -> CheckRequest {
    CheckRequest {
        subject: Some(Subject {
            r#type: "user".to_owned(),
            id: user.to_string(),
            properties: String::new(),
        }),
        action: Some(Action {
            name: "write".to_owned(),
            properties: String::new(),
        }),
        resource: Some(Resource {
            r#type: "document".to_owned(),
            id: "1".to_owned(),
            properties: String::new(),
        }),
        context: String::new(),
        consistency: None,
    }
}

fn at_least(asked: CheckRequest, token: impl Into<String>) -> CheckRequest {
    let consistency = Consistency {
        at_least: vec![token.into()],
        latest: false,
    };
    CheckRequest {
        consistency: Some(consistency),
        ..asked
    }
}

/// As `google.rpc.ErrorInfo` has it.
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    info.map(|info| info.reason.clone()).unwrap_or_default()
}
