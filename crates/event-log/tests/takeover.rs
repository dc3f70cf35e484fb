//! Several owners on one log in memory, under a script of faults drawn from a seed: calls that pause,
//! commits that are lost before or after they arrive or arrive late, owners that come and go. Then the
//! log is compared with every answer.
//!
//! The script is the seed's; which thread runs first is not, so a run covers one of its interleavings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "conformance/owner.rs"]
#[expect(dead_code, reason = "shared with the conformance cases")]
mod owner;
#[path = "takeover/scripted_log.rs"]
mod scripted_log;

use std::sync::Arc;
use std::time::Duration;

use event_log::{BusError, Receipt, decode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::user::UserEvent;
use schemas::{Event, RequestId, SchemaIds, Stored, UserId};
use tokio::task::JoinSet;

use crate::owner::{Owner, chain_is_whole, grant, is_not_done, keyed, records, register, revoke, role};
use crate::scripted_log::ScriptedLog;

const SEEDS: u64 = 48;
const USERS: usize = 3;
const OWNERS: usize = 3;
const STEPS: usize = 14;
const TRIES: usize = 40;

/// What a client asked for, and what it heard.
struct Told {
    user: UserId,
    grants: bool,
    key: String,
    request: RequestId,
    /// Where the user's history had come to, as far as anyone was told, when it was asked.
    known: i64,
    outcome: Result<Receipt<UserEvent>, BusError<domain::user::Error>>,
}

/// An event of a user, with its offset.
type Placed = (i64, Stored<Event>);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_owns_the_log_every_answer_is_true() {
    let mut runs = JoinSet::new();
    for seed in 0..SEEDS {
        runs.spawn(async move {
            let run = tokio::spawn(run(seed));
            if let Err(error) = tokio::time::timeout(Duration::from_secs(50), run).await.unwrap() {
                panic!("seed {seed}: {error}");
            }
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

async fn run(seed: u64) {
    let mut script = StdRng::seed_from_u64(seed);
    let log = Arc::new(ScriptedLog::new(seed));
    let users: Vec<UserId> = (0..USERS).map(|_| UserId::new_v7()).collect();
    let mut owners = vec![Owner::claim(&log).await];
    for user in &users {
        owners[0].user(*user, register(*user)).await.unwrap();
    }
    log.be_faulty();
    let mut told: Vec<Told> = Vec::new();
    for step in 0..STEPS {
        if script.random_bool(0.25) {
            // Advice may name several at once, and change again while they claim.
            owners.push(Owner::start(&log));
            if owners.len() > OWNERS {
                drop(owners.remove(script.random_range(0..OWNERS)));
            }
        }
        let commands = (0..script.random_range(1..4)).map(|number| {
            let user = users[script.random_range(0..USERS)];
            let path: Vec<usize> = (0..TRIES).map(|_| script.random_range(0..owners.len())).collect();
            let known = told
                .iter()
                .filter(|it| it.user == user)
                .filter_map(Told::offset)
                .max()
                .unwrap_or(0);
            ask(
                &owners,
                path,
                (user, known),
                script.random_bool(0.5),
                format!("{step} {number}"),
            )
        });
        let commands: Vec<_> = commands.collect();
        let outcomes = futures::future::join_all(commands).await;
        told.extend(outcomes.into_iter().flatten());
    }
    log.be_well();
    for owner in &owners {
        owner.bus.shut_down().await;
    }
    log.deliver_late();
    chain_is_whole(&log);
    for answer in &told {
        check(seed, answer, &history_of(&log, answer.user));
    }
    a_lone_owner_agrees(seed, &log, &users).await;
}

impl Told {
    fn offset(&self) -> Option<i64> {
        self.outcome.as_ref().ok()?.last.map(|position| position.offset)
    }
}

fn history_of(log: &Arc<ScriptedLog>, user: UserId) -> Vec<Placed> {
    let ids = SchemaIds::numbered();
    let own = records(log)
        .into_iter()
        .filter(|it| it.key == user.to_string().as_bytes());
    own.map(|record| (record.offset, decode(&record, &ids).unwrap()))
        .collect()
}

/// Tries a command at one owner after the other until one says yes, under one key all the while.
async fn ask(
    owners: &[Owner],
    path: Vec<usize>,
    (user, known): (UserId, i64),
    grants: bool,
    key: String,
) -> Vec<Told> {
    let mut told = Vec::new();
    for at in path {
        let command = if grants { grant(1) } else { revoke(1) };
        let context = keyed(&key, &key);
        let request = context.request_id;
        let outcome = owners[at].user_with(user, command, context).await;
        let (done, unserved) = (outcome.is_ok(), matches!(outcome, Err(BusError::Unavailable)));
        let key = key.clone();
        told.push(Told {
            user,
            grants,
            key,
            request,
            known,
            outcome,
        });
        if done {
            break;
        }
        if unserved {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    told
}

fn check(seed: u64, told: &Told, history: &[Placed]) {
    let digest = keyed(&told.key, &told.key).idempotency.unwrap().key_digest;
    let of_key = |(_, event): &&Placed| event.meta.idempotency.is_some_and(|it| it.key_digest == digest);
    let found: Vec<&Placed> = history.iter().filter(of_key).collect();
    assert!(
        found.len() <= 1,
        "seed {seed}: {} is there {} times",
        told.key,
        found.len()
    );
    match &told.outcome {
        Ok(receipt) if receipt.records.is_empty() => {
            // True where it was decided, and that is not before what was known when it was asked.
            let last = receipt.last.unwrap().offset;
            assert!(
                last >= told.known,
                "seed {seed}: {} is answered from {last}",
                told.key
            );
            assert_eq!(
                is_granted(history, last),
                told.grants,
                "seed {seed}: {}",
                told.key
            );
        }
        Ok(receipt) => {
            let named: Vec<_> = receipt
                .records
                .iter()
                .map(|it| (it.position.offset, &it.meta))
                .collect();
            let there: Vec<_> = found
                .iter()
                .map(|(offset, event)| (*offset, &event.meta))
                .collect();
            assert_eq!(named, there, "seed {seed}: {}", told.key);
        }
        Err(error) if is_not_done(error) => {
            let there = history
                .iter()
                .any(|(_, event)| event.meta.request_id == told.request);
            assert!(!there, "seed {seed}: {} was told to be not applied", told.key);
        }
        Err(error) => assert!(
            matches!(error, BusError::OutcomeUnknown),
            "seed {seed}: {error:?}"
        ),
    }
}

fn is_granted(history: &[Placed], last: i64) -> bool {
    let until = history.iter().filter(|(offset, _)| *offset <= last);
    until.fold(false, |granted, (_, event)| match &event.data {
        Event::User(UserEvent::RoleGranted(_)) => true,
        Event::User(UserEvent::RoleRevoked(_)) => false,
        _ => granted,
    })
}

async fn a_lone_owner_agrees(seed: u64, log: &Arc<ScriptedLog>, users: &[UserId]) {
    let next = Owner::claim(log).await;
    for user in users {
        let found = next
            .bus
            .inspect::<domain::user::User>(&user.to_string())
            .await
            .unwrap();
        let history = history_of(log, *user);
        let granted = found
            .aggregate
            .grants
            .get(&domain::user::GrantKey::unlimited(role(1)))
            .is_some();
        assert_eq!(granted, is_granted(&history, i64::MAX), "seed {seed}");
        assert_eq!(
            found.sequence,
            i64::try_from(history.len()).unwrap(),
            "seed {seed}"
        );
    }
    next.user(users[0], grant(2)).await.unwrap();
    chain_is_whole(log);
}
