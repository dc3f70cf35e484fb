//! The scenarios. Each leaves one copy of everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::ledger::ledger_of;
use event_log::identity::await_log;
use local_rolecall::Service;
use local_stack::Stack;
use read_model::ShardMap;
use schemas::UserId;
use schemas::catalog::ShardMapChanged;
use serde_json::{Value, json};
use tests::{Load, World, unique, until};

use crate::FIRST;
use crate::cut::Cut;
use crate::readers::Readers;

const LONG: Duration = Duration::from_secs(60);

/// Names the first shards in the file that everybody follows.
pub fn configure(stack: &Stack, shards: usize) {
    let (file, new) = (
        stack.data_dir().join("shards"),
        stack.data_dir().join("shards.new"),
    );
    std::fs::write(&new, stack.service_dsns()[..shards].join("\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

pub async fn map(world: &World) -> ShardMapChanged {
    await_log(&world.kafka()).await.unwrap().shard_map.unwrap()
}

/// Runs the tool, which must succeed.
pub async fn shards(world: &World, arguments: &[&str]) -> String {
    let (code, text) = world.run("rolecall-shards", arguments).await;
    assert_eq!(code, 0, "rolecall-shards {arguments:?} says:\n{text}");
    text
}

fn body(map: &ShardMapChanged) -> Value {
    let copies = |copies: &[schemas::catalog::LedgerCopy]| -> Vec<Value> {
        let copies = copies.iter();
        copies
            .map(|it| json!({ "ledger": it.ledger, "shard": it.shard }))
            .collect()
    };
    json!({
        "version": map.version, "placement": map.placement, "shards": map.shards,
        "filling": copies(&map.filling), "leaving": copies(&map.leaving),
    })
}

/// Somebody of a ledger, who is not signed in.
async fn somebody_of(world: &World, ledger: i32) -> UserId {
    loop {
        let (user, _) = world.register(&unique("somebody")).await;
        if ledger_of(&user.to_string(), world.ledgers()) == ledger {
            return user;
        }
    }
}

/// The log's map, the shards and their rows say the same, and nothing is there twice.
pub async fn everything_is_in_its_place(world: &World) {
    let recorded = map(world).await;
    assert_eq!((&recorded.filling, &recorded.leaving), (&vec![], &vec![]));
    world.rebuild_is_equal().await;
    let map = ShardMap::from(&recorded);
    for shard in world.shards().await.iter() {
        let placed: Vec<(i16, i32)> =
            sqlx::query_as("SELECT ledger, shard_id FROM shard_placement ORDER BY ledger")
                .fetch_all(&shard.pool)
                .await
                .unwrap();
        let expected: Vec<_> = (0..).zip(recorded.placement.iter().copied()).collect();
        assert_eq!(placed, expected, "on shard {}", shard.id);
        for (table, column) in [
            ("users", "ledger"),
            ("user_sessions", "ledger"),
            ("user_roles", "ledger"),
            ("user_role_cache", "ledger"),
            ("session_shard_lookup", "ledger"),
            ("email_shard_lookup", "ledger"),
            ("username_shard_lookup", "ledger"),
            ("aggregate_snapshots", "partition"),
        ] {
            let of = sqlx::AssertSqlSafe(format!("SELECT DISTINCT {column}::integer FROM {table}"));
            let found: Vec<i32> = sqlx::query_scalar(of).fetch_all(&shard.pool).await.unwrap();
            let own = map.ledgers_of(shard.id, world.ledgers());
            // The catalog's snapshot is on the first shard, and counts as partition 0.
            let strange = found.iter().filter(|it| !own.contains(it));
            let strange: Vec<_> = strange
                .filter(|it| table != "aggregate_snapshots" || **it != 0)
                .collect();
            assert!(
                strange.is_empty(),
                "{table} of shard {} holds ledgers {strange:?}",
                shard.id
            );
        }
        for table in ["email_shard_lookup", "username_shard_lookup"] {
            let wrong = sqlx::AssertSqlSafe(format!(
                "SELECT count(*) FROM {table} l JOIN shard_placement p ON p.ledger = l.user_ledger
                 WHERE p.shard_id <> l.shard_id"
            ));
            let wrong: i64 = sqlx::query_scalar(wrong).fetch_one(&shard.pool).await.unwrap();
            assert_eq!(wrong, 0, "{table} of shard {}", shard.id);
        }
    }
}

pub async fn a_shard_is_added_under_load_though_a_projector_is_killed(world: Arc<World>) {
    let (load, readers) = (Load::start(&world, 4).await, Readers::start(&world, 6).await);
    let before = map(&world).await;
    configure(&world.stack, FIRST + 1);
    let (code, text) = world.run("projector", &["migrate"]).await;
    assert_eq!(code, 0, "{text}");
    let adding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { shards(&world, &["add", "--grace", "2"]).await }
    });
    until(LONG, "a plan", || async { !map(&world).await.filling.is_empty() }).await;
    // Whichever fills it: both, one after the other.
    for projector in world.rolecall.projectors() {
        projector.kill().await.unwrap();
        load.more(20).await;
        projector.restart().await.unwrap();
    }
    let told = adding.await.unwrap();
    load.more(100).await;
    let right = readers.reckon().await;
    load.reckon().await;
    let after = map(&world).await;
    let expected = ShardMap::new(0..3).first_map(world.ledgers());
    assert_eq!(
        (after.shards, &after.placement),
        (3, &expected.placement),
        "{told}"
    );
    assert_ne!(after.placement, before.placement);
    println!(
        "        {right} answers were right; maps {} to {}",
        before.version, after.version
    );
    everything_is_in_its_place(&world).await;
    let status = shards(&world, &["status"]).await;
    for ledger in 0..world.ledgers() {
        assert!(status.contains(&format!("ledger {ledger}: read, ")), "{status}");
    }
}

pub async fn a_node_that_does_not_hear_of_the_move_never_reads_what_is_left(world: Arc<World>) {
    let second = world.client.querying(&world.rolecall.url(Service::Query, 1));
    let (admin, there) = (&world.admin, world.admin.at(&second));
    let bob = world.person("bob").await;
    let role = unique("role");
    admin.define_role(&role, None).await;
    let path = format!("/v1/users/{}/audit", bob.id);
    let known = there.query(&path, &bob.token).await.expect(200);

    Cut::off();
    let (before, ledger) = (map(&world).await, ledger_of(&bob.id.to_string(), world.ledgers()));
    let from = before.placement[usize::try_from(ledger).unwrap()];
    let to = (from + 1) % before.shards;
    let load = Load::start(&world, 2).await;
    let (moved, to) = (ledger.to_string(), to.to_string());
    let moving = tokio::spawn({
        let (world, moved, to) = (Arc::clone(&world), moved.clone(), to.clone());
        async move { shards(&world, &["move", &moved, "--to", &to, "--grace", "2"]).await }
    });
    // The copy that it knows of is kept up for a while, and then refuses.
    let mut refused = 0;
    while refused < 5 {
        let answer = there.query(&path, "").await;
        match answer.status {
            200 => assert_eq!((refused, &answer.body), (0, &known.body), "it was refused before"),
            503 => refused += 1,
            other => panic!("answered {other}: {}", answer.text),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    moving.await.unwrap();
    let granted = admin.grant(bob.id, &role).await;
    let here = admin.query(&path, &granted).await.expect(200);
    let cut_off = there.query(&path, "").await;
    assert_eq!(
        (cut_off.status, cut_off.slug().as_str()),
        (503, "dependency-unavailable")
    );

    Cut::on();
    until(LONG, "the second node", || async {
        let answer = there.query(&path, &granted).await;
        answer.status == 200 && answer.body == here.body
    })
    .await;
    load.reckon().await;
    everything_is_in_its_place(&world).await;
}

pub async fn a_plan_is_given_up_and_made_again(world: Arc<World>) {
    let before = map(&world).await;
    let (ledger, from) = (3, before.placement[3]);
    let to = (from + 1) % before.shards;
    let user = somebody_of(&world, ledger).await;
    let plan = ShardMapChanged {
        version: before.version + 1,
        filling: vec![schemas::catalog::LedgerCopy { ledger, shard: to }],
        ..before.clone()
    };
    world
        .admin
        .command("PUT", "/v1/shard-map", body(&plan))
        .await
        .expect(200);
    let target = world.shards().await.get(to).unwrap();
    let is_filled = || async {
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE id = $1")
            .bind(user.as_uuid())
            .fetch_one(&target.pool)
            .await
            .unwrap();
        found == 1
    };
    until(LONG, "the copy", is_filled).await;
    let status = shards(&world, &["status"]).await;
    assert!(status.contains("ledger 3: filling, "), "{status}");
    shards(&world, &["abandon", "3"]).await;
    assert!(!is_filled().await, "an erasure would not reach it any more");
    // Of what was there nothing is mistaken for the copy that comes now.
    let load = Load::start(&world, 2).await;
    shards(&world, &["move", "3", "--to", &to.to_string(), "--grace", "1"]).await;
    load.reckon().await;
    assert_eq!(map(&world).await.placement[3], to);
    everything_is_in_its_place(&world).await;
    // A takeover goes on from what was saved on the former shard.
    world.rolecall.command().restart().await.unwrap();
    world.rolecall.command().ready().await.unwrap();
    let token = world.admin.define_role(&unique("role"), None).await;
    until(LONG, "the user", || async {
        let path = format!("/v1/users/{user}");
        world.admin.query(&path, &token).await.status == 200
    })
    .await;
}

pub async fn nothing_moves_that_the_log_would_refuse(world: Arc<World>) {
    let before = map(&world).await;
    let mut at_once = ShardMapChanged {
        version: before.version + 1,
        ..before.clone()
    };
    at_once.placement[0] = (at_once.placement[0] + 1) % at_once.shards;
    let not_next = ShardMapChanged {
        version: before.version + 2,
        shards: 9,
        ..before.clone()
    };
    for refused in [&at_once, &not_next] {
        let answer = world.admin.command("PUT", "/v1/shard-map", body(refused)).await;
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (409, "conflict"),
            "{}",
            answer.text
        );
    }
    let bob = world.person("bob").await;
    let answer = bob.command("PUT", "/v1/shard-map", body(&at_once)).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    let refusals: BTreeMap<&str, &[&str]> = [
        ("name the new one", &["add"][..]),
        ("no ledger 99", &["move", "99", "--to", "0"]),
        ("no shard 7", &["move", "1", "--to", "7"]),
        ("no move of ledgers [1] is planned", &["abandon", "1"]),
    ]
    .into();
    for (line, arguments) in refusals {
        let (code, text) = world.run("rolecall-shards", arguments).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(map(&world).await, before);
}
