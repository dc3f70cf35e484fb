//! Imports that are killed half way, and imports over several instances: in the end the users of the file are there,
//! each whole and once, and no name is kept for nobody.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use event_log::HighWatermarks;
use schemas::identifier::IdentifierEvent;
use schemas::user::UserEvent;
use schemas::{ClaimId, Event, Stream};
use serde_json::json;
use tests::{Answer, Client, Person, Suite, World, registration, scenarios, unique, until};

const LIMIT: Duration = Duration::from_secs(120);
const HASH: &str = "$2b$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG";
const ITS_PASSWORD: &str = "correct horse b\u{e4}ttery";

fn main() -> ExitCode {
    let scenarios = scenarios![
        an_import_killed_half_way_is_finished_by_repeating_it,
        an_import_killed_half_way_and_not_repeated_leaves_whole_users_only,
        an_import_reaches_the_ledgers_of_another_instance,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 4,
    }
    .main()
}

fn body(names: &[String]) -> String {
    let row = |name: &String| {
        json!({ "username": name, "email": format!("{name}@example.org"), "password_hash": HASH }).to_string()
    };
    names.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn names(count: usize) -> Vec<String> {
    let prefix = unique("bulk");
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

async fn try_import(client: &Client, admin: &Person, key: &str, body: String) -> Option<Answer> {
    let call = client
        .command("POST", "/v1/imports")
        .bearer(&admin.access_token)
        .key(key)
        .bytes("application/x-ndjson", body);
    call.try_send().await.ok()
}

/// What the identifiers and users of the log say in the end.
#[derive(Default)]
struct Outcome {
    /// How often a user event used the claim.
    registered: BTreeMap<ClaimId, usize>,
    /// Names that are held or reserved, by their claims; true: for good.
    held: HashMap<String, (ClaimId, bool)>,
}

impl Outcome {
    async fn of(world: &World) -> Self {
        let mut outcome = Self::default();
        for (_, stored) in &world.history().await.events {
            let name = stored.meta.aggregate_id.clone();
            match &stored.data {
                Event::User(UserEvent::Registered(event)) => {
                    *outcome.registered.entry(event.claim_id).or_default() += 1;
                }
                Event::Identifier(IdentifierEvent::Reserved(event)) => {
                    outcome.held.insert(name, (event.claim_id, false));
                }
                Event::Identifier(IdentifierEvent::Confirmed(event)) => {
                    outcome.held.insert(name, (event.claim_id, true));
                }
                Event::Identifier(IdentifierEvent::Released(_)) => drop(outcome.held.remove(&name)),
                _ => {}
            }
        }
        outcome
    }

    fn users(&self) -> usize {
        self.registered.len()
    }

    /// Names reserved, and not for a user that is there.
    fn kept_for_nobody(&self) -> usize {
        let kept = self.held.values();
        kept.filter(|(claim, _)| !self.registered.contains_key(claim))
            .count()
    }

    /// Nobody is registered twice; and every user has both names for good.
    fn are_whole(&self) -> bool {
        let confirmed = |claim: &ClaimId| self.held.values().filter(|it| **it == (*claim, true)).count();
        self.registered.values().all(|times| *times == 1)
            && self.registered.keys().all(|claim| confirmed(claim) == 2)
    }
}

/// How far the ledgers' users have come, transaction markers and open transactions included: quick to ask for, however long the log is.
async fn ends(world: &World) -> i64 {
    let places = (0..world.ledgers())
        .map(|ledger| (Stream::Users, ledger))
        .collect();
    let ends = HighWatermarks::new(&world.kafka(), places)
        .unwrap()
        .latest()
        .await
        .unwrap();
    ends.iter().map(|(_, end)| end).sum()
}

async fn projected_users(world: &World) -> i64 {
    let mut users = 0;
    for shard in world.shards().await.iter() {
        let counting = sqlx::query_scalar::<_, i64>("select count(*) from users");
        users += counting.fetch_one(&shard.pool).await.unwrap();
    }
    users
}

/// Kills the command service once about so many users more are registered than at `before`.
async fn kill_at(world: &World, before: i64, users: i64) {
    until(LIMIT, "some are registered", async || {
        ends(world).await >= before + users
    })
    .await;
    world.rolecall.command().kill().await.unwrap();
}

async fn an_import_killed_half_way_is_finished_by_repeating_it(world: Arc<World>) {
    let (names, key) = (names(8_000), unique("import"));
    let (before, end) = (Outcome::of(&world).await.users(), ends(&world).await);
    for users in [1, 2_500, 5_000] {
        let (world_, key, body) = (Arc::clone(&world), key.clone(), body(&names));
        let importing =
            tokio::spawn(async move { try_import(&world_.client, &world_.admin, &key, body).await });
        kill_at(&world, end, users).await;
        drop(importing.await.unwrap());
        world.rolecall.command().restart().await.unwrap();
    }
    let answer = try_import(&world.client, &world.admin, &key, body(&names))
        .await
        .unwrap();
    let answer = answer.expect(200);
    assert_eq!(
        (&answer.body["imported"], &answer.body["rejected"]),
        (&json!(8_000), &json!([]))
    );
    let outcome = Outcome::of(&world).await;
    assert_eq!(outcome.users(), before + names.len());
    assert_eq!(outcome.kept_for_nobody(), 0);
    until(LIMIT, "all names are confirmed", async || {
        Outcome::of(&world).await.are_whole()
    })
    .await;
    for name in [&names[0], &names[4_000], &names[7_999]] {
        Person::log_in(&world.client, name, ITS_PASSWORD).await;
    }
    world.verify().await;
    world.rebuild_is_equal().await;
}

async fn an_import_killed_half_way_and_not_repeated_leaves_whole_users_only(world: Arc<World>) {
    let names = names(8_000);
    world.projected().await;
    let (before, there_before) = (Outcome::of(&world).await.users(), projected_users(&world).await);
    let (world_, body) = (Arc::clone(&world), body(&names));
    let importing =
        tokio::spawn(async move { try_import(&world_.client, &world_.admin, &unique("import"), body).await });
    // The log's end counts users of transactions that the kill aborts: what is projected is there for good.
    until(LIMIT, "some users are projected", async || {
        projected_users(&world).await > there_before
    })
    .await;
    world.rolecall.command().kill().await.unwrap();
    drop(importing.await.unwrap());
    world.rolecall.command().restart().await.unwrap();
    until(LIMIT, "the names of all users are confirmed", async || {
        Outcome::of(&world).await.are_whole()
    })
    .await;
    let outcome = Outcome::of(&world).await;
    assert!(outcome.users() < before + names.len(), "it was killed too late");
    // What is reserved is for nobody now: whoever comes gets it once that has expired. Everybody else signs in.
    let (mut there, mut not_there) = (0, Vec::new());
    for name in names.iter().step_by(50) {
        let log_in = json!({ "username": name, "password": ITS_PASSWORD });
        let answer = world
            .client
            .command("POST", "/v1/sessions")
            .json(&log_in)
            .send()
            .await;
        match answer.status {
            201 => there += 1,
            _ => not_there.push(name),
        }
    }
    assert!(
        there > 0 && !not_there.is_empty(),
        "{there} and {}",
        not_there.len()
    );
    let wanted = not_there[0];
    until(LIMIT, "a name that was reserved is free again", async || {
        let call = world
            .client
            .command("POST", "/v1/users")
            .json(&registration(wanted));
        call.send().await.status == 201
    })
    .await;
}

async fn an_import_reaches_the_ledgers_of_another_instance(world: Arc<World>) {
    let claims = world.claims();
    let second = world.another("command-service").await;
    let (first, other) = (world.rolecall.command_url(), second.url.clone());
    until(LIMIT, "both own some groups", async || {
        let owned = world.owned(&claims);
        owned.len() == 2 && owned.contains_key(&first) && owned.contains_key(&other)
    })
    .await;
    let (names, key) = (names(3_000), unique("import"));
    let before = Outcome::of(&world).await;
    for url in [&first, &other] {
        let client = world.client.commanding(&[url]);
        // At the second it is a repetition.
        let answer = try_import(&client, &world.admin, &key, body(&names))
            .await
            .unwrap();
        assert_eq!(answer.expect(200).body["imported"], 3_000);
    }
    let after = Outcome::of(&world).await;
    assert_eq!(after.users(), before.users() + names.len());
    assert!(after.are_whole() && after.kept_for_nobody() == before.kept_for_nobody());
    let ledgers: BTreeSet<Option<String>> = (0..world.ledgers())
        .map(|ledger| claims.owner(Stream::Users, ledger))
        .collect();
    assert_eq!(ledgers.len(), 2);
    second.server.stop().await.unwrap();
    world.verify().await;
}
