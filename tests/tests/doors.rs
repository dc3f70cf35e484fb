//! The same checks through the other doors, by TLS: gRPC, and a proxy that asks before it lets a request pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "doors/envoy.rs"]
mod envoy;
#[path = "doors/grpc.rs"]
mod grpc;

use std::process::ExitCode;

use serde_json::{Value, json};
use tests::{Suite, World, scenarios, unique};

fn main() -> ExitCode {
    let scenarios = scenarios![
        grpc::a_grant_counts_at_both_doors_from_its_token_on,
        grpc::a_key_of_a_service_account_asks_by_the_stream,
        grpc::whoever_is_not_who_it_should_be_is_told_nothing,
        envoy::envoy_asks_and_does_as_it_is_told,
    ];
    Suite {
        scenarios,
        at_once: 4,
        shards: 2,
    }
    .main()
}

/// A role that may do `action` on `resource`: its name.
async fn role_for(world: &World, action: &str, resource: &str) -> String {
    let (role, permission) = (unique("role"), unique("permission"));
    world.admin.define_role(&role, None).await;
    world.admin.define_permission(&permission, action, resource).await;
    world.admin.attach(&role, &permission).await;
    role
}

/// Of a service account that may ask about everybody, once the token is applied: key and token.
async fn asking_key(world: &World) -> (String, String) {
    let admin = &world.admin;
    let made = admin.command("POST", "/v1/service-accounts", json!({ "name": unique("proxy") }));
    let made = made.await.expect(201);
    let id: schemas::UserId = made.body["user_id"].as_str().unwrap().parse().unwrap();
    let role = unique("asker");
    admin.define_role(&role, None).await;
    admin.attach(&role, "rolecall.access_check").await;
    let granted = admin.grant(id, &role).await;
    let path = format!("/v1/service-accounts/{id}/keys");
    let key = admin.command("POST", &path, json!({})).await.expect(201);
    let key_token = key.token();
    let text = |body: &Value| body["key"].as_str().unwrap().to_owned();
    (text(&key.body), format!("{granted},{key_token}"))
}
