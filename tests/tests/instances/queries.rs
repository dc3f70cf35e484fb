//! Two query services, each of which knows everything.

use std::sync::Arc;

use serde_json::json;
use tests::{World, unique};

use crate::commands::second;

pub async fn two_query_services_answer_alike(world: Arc<World>) {
    let claims = world.claims();
    let second_command = second(&world, &claims).await;
    let second_query = world.another("query-service").await;
    let commands = [world.rolecall.command_url(), second_command.url.clone()];
    let queries = [world.rolecall.query_url(), second_query.url.clone()];
    let (role, resource) = (unique("role"), unique("resource"));
    world.admin.define_role(&role, None).await;
    world.admin.define_permission(&resource, "read", &resource).await;
    world.admin.attach(&role, &resource).await;
    let asking = queries
        .each_ref()
        .map(|url| world.admin.at(&world.client.querying(url)));
    for turn in 0..20 {
        let bob = world.person("bob").await;
        let writing = world.admin.at(&world.client.commanding(&[&commands[turn % 2]]));
        let granted = writing.grant(bob.id, &role).await;
        for admin in &asking {
            assert!(admin.check(bob.id, "read", &resource, &granted).await);
            let roles = admin
                .query(&format!("/v1/users/{}/roles", bob.id), &granted)
                .await
                .expect(200);
            assert_eq!(roles.body["roles"].as_array().unwrap().len(), 1);
        }
        let revoked = writing.revoke(bob.id, &role).await;
        for admin in &asking {
            assert!(!admin.check(bob.id, "read", &resource, &revoked).await);
            let roles = admin
                .query(&format!("/v1/users/{}/roles", bob.id), &revoked)
                .await
                .expect(200);
            assert_eq!(roles.body["roles"], json!([]));
        }
    }
    second_query.server.stop().await.unwrap();
    second_command.server.stop().await.unwrap();
}
