//! What is around the calls: the start, health, reflection, metrics, and calls that are unknown.

use access_proto::v1::access_server::SERVICE_NAME;
use futures::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::{Served, may_write, reason};
use crate::testing::{ADMIN, BOB};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn until_the_log_is_read_calls_may_come_again() {
    let served = Served::starting().await;
    let refused = served.check(ADMIN, may_write(BOB)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::Unavailable, "NOT_YET".to_owned())
    );
    served.open();
    // On the same connection.
    served.check(ADMIN, may_write(BOB)).await.unwrap();
}

#[tokio::test]
async fn health_follows_readiness_and_ends_with_the_service() {
    let served = Served::starting().await;
    let mut client = HealthClient::new(served.channel.clone());
    let watched = client.watch(of(SERVICE_NAME)).await.unwrap();
    let mut watched = watched.into_inner();
    let mut next = async || watched.next().await.map(|told| told.unwrap().status());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    served.open();
    assert_eq!(next().await, Some(ServingStatus::Serving));
    served.readiness.set_not_ready("log", "a test");
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        let told = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(told.status(), ServingStatus::NotServing, "{service}");
    }
    served.stopping.cancel();
    while next().await.is_some() {}
    served.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let served = Served::start().await;
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(served.channel.clone());
    let asked = futures::stream::iter([asked]);
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<&str> = list.service.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&SERVICE_NAME), "{names:?}");
}

#[tokio::test]
async fn every_call_is_counted_under_its_method_and_code() {
    let metrics = service_kit::telemetry::init_metrics().unwrap();
    let served = Served::start().await;
    served.check(ADMIN, may_write(BOB)).await.unwrap();
    let refused = served.access().check(Request::new(may_write(BOB))).await;
    assert!(refused.is_err());
    let text = metrics.render();
    for code in ["Ok", "Unauthenticated"] {
        let labels = format!("method=\"/rolecall.access.v1.Access/Check\",code=\"{code}\"");
        assert!(text.contains(&labels), "{labels}\n{text}");
    }
}

/// A client of a later contract learns that its call is not known here.
#[tokio::test]
async fn a_call_that_is_unknown_is_unimplemented() {
    let served = Served::start().await;
    let mut client = tonic::client::Grpc::new(served.channel.clone());
    client.ready().await.unwrap();
    let path = "/rolecall.access.v1.Access/Nothing".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<_, access_proto::v1::CheckResponse>::default();
    let refused = client.unary(served.by(ADMIN, may_write(BOB)), path, codec).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}
