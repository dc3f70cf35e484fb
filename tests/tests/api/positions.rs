//! Consistency tokens in requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::{LogId, Position, Stream};
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::ProblemType as P;
use tests::{Answer, World};

/// Demands `token` of both services.
async fn demand(world: &World, token: &str) -> [Answer; 2] {
    let (admin, id) = (&world.admin, world.admin.id);
    let command = world
        .client
        .command("DELETE", "/v1/roles/nowhere")
        .bearer(&admin.access_token);
    let query = world
        .client
        .query("GET", &format!("/v1/users/{id}/roles"))
        .bearer(&admin.access_token);
    [
        command.at_least(token).send().await,
        query.at_least(token).send().await,
    ]
}

pub async fn foreign_and_garbled_tokens_are_refused(world: Arc<World>) {
    let own = &world.admin.token;
    let foreign = ConsistencyToken::new(LogId::new_v7()).to_string();
    for answer in demand(&world, &foreign).await {
        answer.refused(P::ForeignToken);
    }
    let cut = &own[..own.len() - 1];
    for bad in [
        "",
        "latest!",
        "rc1",
        "rc1.",
        "rc2.AAAA",
        "rc1.AAAA",
        "rc1.ä",
        cut,
        &format!("{own},{own}x"),
    ] {
        for answer in demand(&world, bad).await {
            answer.refused(P::InvalidTokenHeader);
        }
    }
    let check = world.admin.ask(world.admin.id, "read", "x", &foreign).await;
    assert_eq!(check.status, 400);
}

pub async fn a_token_beyond_the_end_is_not_yet_at_once(world: Arc<World>) {
    let log_id = world.identity.created.log_id;
    for stream in [Stream::Users, Stream::Catalog] {
        let far = Position {
            stream,
            partition: 0,
            offset: 1_000_000_000,
        };
        let token = ConsistencyToken::from_positions(log_id, [far]).to_string();
        let started = Instant::now();
        for answer in demand(&world, &token).await {
            answer.refused(P::NotYet);
        }
        let check = world.admin.ask(world.admin.id, "read", "x", &token).await;
        assert_eq!(check.status, 503);
        let took = started.elapsed();
        assert!(took < Duration::from_millis(1_500), "three answers took {took:?}");
    }
    let nowhere = Position {
        stream: Stream::Users,
        partition: 99,
        offset: 0,
    };
    let token = ConsistencyToken::from_positions(log_id, [nowhere]).to_string();
    for answer in demand(&world, &token).await {
        assert!([400, 503].contains(&answer.status), "{}", answer.text);
    }
}

pub async fn tokens_join_by_their_maximum(world: Arc<World>) {
    let admin = &world.admin;
    let person = world.person("joined").await;
    let (role, permission) = (tests::unique("role"), tests::unique("permission"));
    let defined = admin.define_role(&role, None).await;
    admin.define_permission(&permission, "read", &permission).await;
    let attached = admin.attach(&role, &permission).await;
    // The grant demands both and so its own token covers them.
    let path = format!("/v1/users/{}/roles/{role}", person.id);
    let grant = world.client.command("PUT", &path).bearer(&admin.access_token);
    let grant = grant
        .at_least(&defined)
        .at_least(&format!("{attached}, {}", person.token));
    let granted: ConsistencyToken = grant.send().await.expect(200).token().parse().unwrap();
    for part in [&defined, &attached, &person.token] {
        assert!(
            granted.covers(&part.parse().unwrap()),
            "{granted} does not cover {part}"
        );
    }
    assert!(
        admin
            .check(person.id, "read", &permission, &granted.to_string())
            .await
    );
    let answer = admin
        .ask(person.id, "read", &permission, &granted.to_string())
        .await;
    let reflected: ConsistencyToken = answer.header("rolecall-token").parse().unwrap();
    let grants: Vec<Position> = granted
        .positions()
        .filter(|it| it.stream == Stream::Catalog)
        .collect();
    assert!(
        grants
            .iter()
            .all(|it| reflected.offset(it.stream, it.partition) >= Some(it.offset))
    );
}
