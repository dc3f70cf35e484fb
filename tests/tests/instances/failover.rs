//! Command services that come, leave, die and sleep while others are asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use local_stack::Server;
use tests::{Claims, Client, Instance, Load, Person, World, unique, until};

use crate::commands::{owner_of, second};

/// A member is missed after its session of 6 s; the rest is taking over, and a crowded machine.
const REPLACED: Duration = Duration::from_secs(60);

async fn proven(world: &World, load: Load) -> HashMap<String, usize> {
    load.more(20).await;
    let refusals = load.reckon().await;
    world.verify().await;
    world.rebuild_is_equal().await;
    refusals
}

pub async fn instances_restart_one_after_the_other_under_load(world: Arc<World>) {
    let claims = world.claims();
    let second = second(&world, &claims).await;
    let urls = [world.rolecall.command_url(), second.url.clone()];
    let both = world.client.commanding(&[&urls[0], &urls[1]]);
    let load = Load::start_at(&world, both.clone(), 4).await;
    let servers: [&Server; 2] = [world.rolecall.command(), &second.server];
    for (server, rest) in [(0, 1), (1, 0), (0, 1)] {
        let stopping = Instant::now();
        // Asked until it is gone: what it has accepted it finishes.
        servers[server].stop().await.unwrap();
        both.are_up(&[&urls[rest]]);
        println!("        a stop took {:.1} s", stopping.elapsed().as_secs_f64());
        // Nobody waits for a session to end: it left by itself.
        let took = until(Duration::from_secs(4), "the rest owns all", || async {
            world.owned(&claims).keys().eq([&urls[rest]])
        })
        .await;
        println!(
            "        ... and the rest owned all {:.1} s later",
            took.as_secs_f64()
        );
        load.more(50).await;
        servers[server].restart().await.unwrap();
        both.are_up(&[&urls[0], &urls[1]]);
        until(REPLACED, "both own some groups", || async {
            world.owned(&claims).len() == 2
        })
        .await;
        load.more(50).await;
    }
    let refusals = proven(&world, load).await;
    assert!(refusals.is_empty(), "a planned restart shows: {refusals:?}");
    second.server.stop().await.unwrap();
}

pub async fn a_killed_instance_is_replaced_under_load(world: Arc<World>) {
    let claims = world.claims();
    let second = second(&world, &claims).await;
    let first = world.rolecall.command_url();
    let both = world.client.commanding(&[&first, &second.url]);
    let load = Load::start_at(&world, both, 4).await;
    second.server.kill().await.unwrap();
    let took = until(REPLACED, "the rest owns all", || async {
        world.owned(&claims).keys().eq([&first])
    })
    .await;
    println!(
        "        the rest owned all {:.1} s after the kill",
        took.as_secs_f64()
    );
    load.more(100).await;
    proven(&world, load).await;
}

pub async fn a_third_instance_takes_a_share_and_a_frozen_owner_gives_up(world: Arc<World>) {
    let claims = world.claims();
    let second = second(&world, &claims).await;
    let third = world.another("command-service").await;
    let took = until(REPLACED, "the third owns some groups", || async {
        world.owned(&claims).contains_key(&third.url)
    })
    .await;
    println!(
        "        the third owned a share {:.1} s after it was ready",
        took.as_secs_f64()
    );
    frozen_owner_gives_up(&world, &claims, &second).await;
    third.server.stop().await.unwrap();
    second.server.stop().await.unwrap();
    world.verify().await;
    world.rebuild_is_equal().await;
}

/// Its memory says "granted" after others have taken over and revoked: no answer may come from it.
async fn frozen_owner_gives_up(world: &Arc<World>, claims: &Claims, frozen: &Instance) {
    let role = unique("role");
    let resource = unique("resource");
    world.admin.define_role(&role, None).await;
    world.admin.define_permission(&resource, "read", &resource).await;
    world.admin.attach(&role, &resource).await;
    let people = people_of(world, claims, &frozen.url, 6).await;
    let at_frozen = world.client.commanding(&[&frozen.url]);
    for person in &people {
        world.admin.at(&at_frozen).grant(person.id, &role).await;
    }
    frozen.server.pause().unwrap();
    let asleep = Instant::now();
    let took = until(REPLACED, "the others own what the frozen one had", || async {
        !world.owned(claims).contains_key(&frozen.url)
    })
    .await;
    println!(
        "        the others owned all {:.1} s after the freeze",
        took.as_secs_f64()
    );
    for person in &people {
        let revoked = world.admin.revoke(person.id, &role).await;
        assert!(!world.admin.check(person.id, "read", &resource, &revoked).await);
    }
    // Longer than its session and its transactions: everybody else takes it for dead.
    tokio::time::sleep(Duration::from_secs(15).saturating_sub(asleep.elapsed())).await;
    frozen.server.resume().unwrap();
    let mut granting = Vec::new();
    for person in &people {
        granting.push(granted_anew(world, &at_frozen, person, &role, &resource));
    }
    join_all(granting).await;
    let history = world.history().await;
    for person in &people {
        let mut events = history.names_of_user(person.id);
        events.retain(|name| name.starts_with("user.role_"));
        let granted_twice = ["user.role_granted", "user.role_revoked", "user.role_granted"];
        assert_eq!(events, granted_twice, "{}", person.id);
    }
    let back = until(REPLACED, "it owns a share again", || async {
        world.owned(claims).contains_key(&frozen.url)
    })
    .await;
    println!("        it owned a share again {:.1} s later", back.as_secs_f64());
    until(REPLACED, "it is ready again", || async {
        frozen.server.is_ready().await
    })
    .await;
}

/// Whatever it answers first, the first 200 is for a grant that was made.
async fn granted_anew(world: &World, frozen: &Client, person: &Person, role: &str, resource: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let path = format!("/v1/users/{}/roles/{role}", person.id);
    let granted = loop {
        let call = frozen.command("PUT", &path).bearer(&world.admin.access_token);
        match call.try_send().await {
            Ok(answer) if answer.status == 200 => break answer.token(),
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            // A connection that lay idle for so long.
            Err(error) => println!("        the frozen one's connection broke: {error}"),
        }
        assert!(Instant::now() < deadline, "no grant");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(world.admin.check(person.id, "read", resource, &granted).await);
}

/// Somebody on each of some ledgers of one owner.
async fn people_of(world: &World, claims: &Claims, address: &str, count: usize) -> Vec<Person> {
    let mut people = Vec::new();
    while people.len() < count {
        let person = world.person("frozen").await;
        if owner_of(world, claims, person.id) == address {
            people.push(person);
        }
    }
    people
}
