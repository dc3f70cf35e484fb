//! By the client that tonic makes from the contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use access_proto::v1::access_client::AccessClient;
use access_proto::v1::check_bulk_response::Result as Outcome;
use access_proto::v1::{Action, CheckBulkRequest, CheckRequest, Consistency, Resource, Subject};
use futures::{StreamExt as _, stream};
use schemas::UserId;
use tests::{World, unique};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

use crate::{asking_key, role_for};

async fn channel(world: &World) -> Channel {
    let authority = world.rolecall.certificates().unwrap().authority();
    let authority = Certificate::from_pem(std::fs::read(authority).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(authority);
    let endpoint = Endpoint::from_shared(world.rolecall.grpc_url(0)).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

fn asked(user: UserId, action: &str, resource: &str, at_least: &str) -> CheckRequest {
    CheckRequest {
        subject: Some(Subject {
            r#type: "user".to_owned(),
            id: user.to_string(),
            ..Subject::default()
        }),
        action: Some(Action {
            name: action.to_owned(),
            ..Action::default()
        }),
        resource: Some(Resource {
            r#type: resource.to_owned(),
            id: "1".to_owned(),
            ..Resource::default()
        }),
        context: String::new(),
        consistency: Some(Consistency {
            at_least: at_least.split(',').map(str::to_owned).collect(),
            latest: false,
        }),
    }
}

fn by<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {credential}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

pub async fn a_grant_counts_at_both_doors_from_its_token_on(world: Arc<World>) {
    let resource = unique("invoice");
    let role = role_for(&world, "read", &resource).await;
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let mut access = AccessClient::new(channel(&world).await);
    let mut check = async |token: &str| {
        let asked = asked(bob.id, "read", &resource, token);
        let answer = access.check(by(&admin.access_token, asked)).await.unwrap();
        answer.into_inner()
    };
    for _ in 0..10 {
        let granted = admin.grant(bob.id, &role).await;
        let answer = check(&granted).await;
        assert_eq!((answer.decision, answer.reason.as_str()), (true, "granted"));
        // What it answers is known at the other door too.
        assert!(admin.check(bob.id, "read", &resource, &answer.token).await);
        let revoked = admin.revoke(bob.id, &role).await;
        let answer = check(&revoked).await;
        assert_eq!((answer.decision, answer.reason.as_str()), (false, "no_grant"));
    }
}

pub async fn a_key_of_a_service_account_asks_by_the_stream(world: Arc<World>) {
    let resource = unique("invoice");
    let role = role_for(&world, "read", &resource).await;
    let (bob, eve) = (world.person("bob").await, world.person("eve").await);
    let granted = world.admin.grant(bob.id, &role).await;
    let (key, token) = asking_key(&world).await;
    let known = format!("{granted},{},{token}", eve.token);
    let whose = [bob.id, eve.id];
    let questions: Vec<CheckBulkRequest> = (0..2_000_u64)
        .map(|id| CheckBulkRequest {
            id,
            check: Some(asked(whose[usize::from(id % 2 == 1)], "read", &resource, &known)),
        })
        .collect();
    let mut access = AccessClient::new(channel(&world).await);
    let answers = access
        .check_bulk(by(&key, stream::iter(questions)))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    let mut found = BTreeMap::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        let Some(Outcome::Answer(answered)) = answer.result else {
            panic!("{answer:?}")
        };
        found.insert(answer.id, answered.decision);
    }
    assert_eq!(found, (0..2_000).map(|id| (id, id % 2 == 0)).collect());
}

pub async fn whoever_is_not_who_it_should_be_is_told_nothing(world: Arc<World>) {
    let bob = world.person("bob").await;
    let mut access = AccessClient::new(channel(&world).await);
    let about = || asked(world.admin.id, "read", "invoice", &bob.token);
    let nobody = access.check(Request::new(about())).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let forbidden = access.check(by(&bob.access_token, about())).await.unwrap_err();
    assert_eq!(forbidden.code(), Code::PermissionDenied);

    // By the authorities of the public, this server is nobody.
    let url = world.rolecall.grpc_url(0);
    let public = Endpoint::from_shared(url.clone()).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(""));
    let refused = match public.tls_config(tls) {
        Ok(endpoint) => endpoint.connect().await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    let plain = Endpoint::from_shared(url.replace("https://", "http://")).unwrap();
    let mut access = AccessClient::new(plain.connect_lazy());
    let refused = access
        .check(by(&world.admin.access_token, about()))
        .await
        .unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
}
