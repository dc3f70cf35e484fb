//! Servers and services die, stop and freeze in the middle of load; what was acknowledged stays.
//!
//! Each scenario ends by proof: the log holds every acknowledged command once, its chain is whole,
//! and the read model is what a rebuild from the log gives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "faults/messages.rs"]
mod messages;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::Event;
use schemas::identifier::IdentifierEvent;
use schemas::user::UserEvent;
use serde_json::{Value, json};
use tests::{Load, PASSWORD, Person, Suite, World, scenarios, unique};

fn main() -> ExitCode {
    let scenarios = scenarios![
        a_killed_command_service_loses_nothing_it_acknowledged,
        a_stopped_command_service_finishes_what_it_accepted,
        a_killed_projector_goes_on_where_its_rows_end,
        a_killed_query_service_answers_right_from_its_first_answer_on,
        a_frozen_command_service_goes_on,
        a_restarted_broker_loses_nothing_acknowledged,
        a_killed_broker_loses_nothing_acknowledged,
        without_databases_commands_and_checks_go_on,
        killed_databases_lose_no_event,
        without_the_registry_services_start_and_serve,
        a_name_is_free_or_taken_but_never_lost_in_a_crash,
        messages::a_message_outlives_the_service_that_was_to_send_it,
        messages::a_code_reaches_a_phone_once_though_gateway_and_service_fail,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 4,
    }
    .main_with(|builder| builder.sms_gateway())
}

async fn proven(world: &World, load: Load) {
    load.more(20).await;
    load.reckon().await;
    names_are_confirmed(world).await;
    world.verify().await;
    world.rebuild_is_equal().await;
    for server in [
        world.rolecall.command(),
        world.rolecall.query(),
        world.rolecall.projector(),
    ] {
        until_ready(server).await;
    }
}

/// A user's names are confirmed, whatever came between the registration and that.
async fn names_are_confirmed(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let history = world.history().await;
        let (mut claims, mut confirmed) = (Vec::new(), HashMap::new());
        for (_, stored) in &history.events {
            match &stored.data {
                Event::User(UserEvent::Registered(event)) => claims.push(event.claim_id),
                Event::Identifier(IdentifierEvent::Confirmed(event)) => {
                    *confirmed.entry(event.claim_id).or_insert(0) += 1;
                }
                _ => {}
            }
        }
        let open = claims
            .iter()
            .filter(|claim| confirmed.get(claim) != Some(&2))
            .count();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{open} claims are not confirmed twice");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn until_ready(server: &local_stack::Server) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.is_ready().await {
        assert!(Instant::now() < deadline, "{server:?} does not get ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_killed_command_service_loses_nothing_it_acknowledged(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    for _ in 0..3 {
        world.rolecall.command().kill().await.unwrap();
        world.rolecall.command().restart().await.unwrap();
        load.more(100).await;
    }
    proven(&world, load).await;
}

async fn a_stopped_command_service_finishes_what_it_accepted(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    for _ in 0..2 {
        let stopping = Instant::now();
        world.rolecall.command().stop().await.unwrap();
        let took = stopping.elapsed();
        assert!(took < Duration::from_secs(25), "it took {took:?} to stop");
        world.rolecall.command().restart().await.unwrap();
        load.more(100).await;
    }
    proven(&world, load).await;
}

async fn a_killed_projector_goes_on_where_its_rows_end(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    for _ in 0..3 {
        world.rolecall.projector().kill().await.unwrap();
        load.more(50).await;
        world.rolecall.projector().restart().await.unwrap();
        load.more(50).await;
    }
    proven(&world, load).await;
}

async fn a_killed_query_service_answers_right_from_its_first_answer_on(world: Arc<World>) {
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let (role, resource) = (unique("role"), unique("resource"));
    admin.define_role(&role, None).await;
    admin.define_permission(&resource, "read", &resource).await;
    admin.attach(&role, &resource).await;
    let load = Load::start(&world, 2).await;
    for _ in 0..4 {
        let granted = admin.grant(bob.id, &role).await;
        assert!(admin.check(bob.id, "read", &resource, &granted).await);
        world.rolecall.query().kill().await.unwrap();
        let revoked = admin.revoke(bob.id, &role).await;
        world.rolecall.query().restart().await.unwrap();
        // Ready means that it has read the log: even without a token demanded it knows.
        assert!(!admin.check(bob.id, "read", &resource, "").await);
        assert!(!admin.check(bob.id, "read", &resource, &revoked).await);
    }
    proven(&world, load).await;
}

async fn a_frozen_command_service_goes_on(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    // Longer than its broker session for a moment, shorter than its transaction's time.
    world.rolecall.command().pause().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.rolecall.command().resume().unwrap();
    load.more(100).await;
    // Longer than its transaction's time: Kafka has ended what was open.
    world.rolecall.command().pause().unwrap();
    tokio::time::sleep(Duration::from_secs(13)).await;
    world.rolecall.command().resume().unwrap();
    load.more(100).await;
    proven(&world, load).await;
}

async fn a_restarted_broker_loses_nothing_acknowledged(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    world.stack.kafka().restart().await.unwrap();
    load.more(100).await;
    proven(&world, load).await;
}

async fn a_killed_broker_loses_nothing_acknowledged(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    world.stack.kafka().kill().await.unwrap();
    world.stack.kafka().restart().await.unwrap();
    load.more(100).await;
    proven(&world, load).await;
}

async fn without_databases_commands_and_checks_go_on(world: Arc<World>) {
    let (admin, bob) = (&world.admin, world.person("bob").await);
    let (role, resource) = (unique("role"), unique("resource"));
    admin.define_role(&role, None).await;
    admin.define_permission(&resource, "read", &resource).await;
    admin.attach(&role, &resource).await;
    let load = Load::start(&world, 4).await;
    world.stack.postgres().stop().await.unwrap();
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(30) {
        let before = load.acknowledged();
        let granted = admin.grant(bob.id, &role).await;
        assert!(admin.check(bob.id, "read", &resource, &granted).await);
        let revoked = admin.revoke(bob.id, &role).await;
        assert!(!admin.check(bob.id, "read", &resource, &revoked).await);
        // Signing in and registering need no database either.
        let carol = world.person("carol").await;
        assert!(!carol.check(carol.id, "read", &resource, &carol.token).await);
        let asked = Instant::now();
        let user = admin.query(&format!("/v1/users/{}", bob.id), "").await;
        assert_eq!(
            (user.status, user.slug().as_str()),
            (503, "dependency-unavailable")
        );
        assert!(
            asked.elapsed() < Duration::from_secs(6),
            "a refusal took {:?}",
            asked.elapsed()
        );
        load.more(20).await;
        assert!(load.acknowledged() > before);
    }
    world.stack.postgres().restart().await.unwrap();
    let granted = admin.grant(bob.id, &role).await;
    world.projected().await;
    let user = admin
        .query(&format!("/v1/users/{}", bob.id), &granted)
        .await
        .expect(200);
    assert_eq!(user.body["username"], json!(bob.name));
    proven(&world, load).await;
}

/// Rows and checkpoint are one transaction: what a crash takes comes again from the log.
async fn killed_databases_lose_no_event(world: Arc<World>) {
    let load = Load::start(&world, 4).await;
    for _ in 0..3 {
        world.stack.postgres().kill().await.unwrap();
        load.more(20).await;
        world.stack.postgres().restart().await.unwrap();
        load.more(50).await;
    }
    proven(&world, load).await;
}

async fn without_the_registry_services_start_and_serve(world: Arc<World>) {
    world.stack.registry().stop().await.unwrap();
    for server in [
        world.rolecall.command(),
        world.rolecall.query(),
        world.rolecall.projector(),
    ] {
        server.restart().await.unwrap();
    }
    let person = world.person("unregistered").await;
    person
        .query(&format!("/v1/users/{}", person.id), &person.token)
        .await
        .expect(200);
    world.stack.registry().restart().await.unwrap();
    world.verify().await;
}

async fn a_name_is_free_or_taken_but_never_lost_in_a_crash(world: Arc<World>) {
    let mut names = Vec::new();
    for _ in 0..3 {
        let registering: Vec<_> = (0..40)
            .map(|_| {
                let (world, name) = (Arc::clone(&world), unique("crash"));
                names.push(name.clone());
                let body = tests::registration(&name);
                tokio::spawn(async move {
                    let call = world.client.command("POST", "/v1/users").json(&body);
                    call.try_send().await.is_ok_and(|answer| answer.status == 201)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..600))).await;
        world.rolecall.command().kill().await.unwrap();
        world.rolecall.command().restart().await.unwrap();
        for (task, name) in registering.into_iter().zip(&names[names.len() - 40..]) {
            if task.await.unwrap() {
                Person::log_in(&world.client, name, PASSWORD).await;
            }
        }
    }
    // Whoever did not get an answer is there and can sign in, or is not and the name is reserved
    // for a minute at most. Never is there an account that nobody can sign in to.
    let history = world.history().await;
    for name in &names {
        let log_in = json!({ "username": name, "password": PASSWORD });
        let by_name = world
            .client
            .command("POST", "/v1/sessions")
            .json(&log_in)
            .send()
            .await;
        let log_in = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
        let by_mail = world
            .client
            .command("POST", "/v1/sessions")
            .json(&log_in)
            .send()
            .await;
        assert_eq!(
            by_name.status, by_mail.status,
            "{name}: {} and {}",
            by_name.text, by_mail.text
        );
        let again = world
            .client
            .command("POST", "/v1/users")
            .json(&tests::registration(name))
            .send()
            .await;
        match by_name.status {
            201 => assert_eq!(again.status, 409, "{}", again.text),
            _ => assert!([201, 409].contains(&again.status), "{}", again.text),
        }
        if let Some(user) = by_name.body["user_id"].as_str() {
            let events = history.names_of_user(user.parse().unwrap());
            assert_eq!(events.iter().filter(|it| **it == "user.registered").count(), 1);
        }
    }
    let path = format!("/v1/users/{}/roles", world.admin.id);
    world
        .client
        .query("GET", &path)
        .bearer(&world.admin.access_token)
        .send()
        .await
        .expect(200);
    world
        .admin
        .command("DELETE", &path.replace("/roles", "/nothing"), Value::Null)
        .await
        .expect(404);
    world.verify().await;
    world.rebuild_is_equal().await;
}
