//! Commits that fail in the middle, on the log in memory: the answer is never a guess.

use std::sync::Arc;
use std::time::Duration;

use domain::user::User;
use event_log::{BusError, Failure, Group, GroupStatus, Halt, Instance, MemoryLog, Owners, Target};
use futures::future::join_all;
use proptest::prelude::*;
use schemas::user::UserEvent;
use schemas::{Event, LogId, Position, SchemaIds, Stream, Timestamp, UserId};

use crate::bulk::orders;
use crate::owner::{
    LEDGERS, Owner, chain_is_whole, events, grant, history, is_not_done, keyed, register, role, specs, system,
};

fn new_log() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(LogId::new_v7()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_in_the_log() {
    let log = new_log();
    let owner = Owner::claim(&log).await;
    let id = owner.registered().await;
    log.fail_next(&[Failure::AfterCommit]);
    let receipt = owner.user(id, grant(1)).await.unwrap();
    assert_eq!(receipt.records[0].meta.sequence, 2);
    assert_eq!(history(&log, &id.to_string()).len(), 2);
    chain_is_whole(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_reach_the_log_is_not_applied() {
    let log = new_log();
    let owner = Owner::claim(&log).await;
    let id = owner.registered().await;
    log.fail_next(&[Failure::BeforeCommit]);
    assert!(matches!(
        owner.user(id, grant(1)).await,
        Err(BusError::NotApplied)
    ));
    assert_eq!(history(&log, &id.to_string()).len(), 1);
    owner.serves().await;
    assert_eq!(
        owner.user(id, grant(1)).await.unwrap().records[0].meta.sequence,
        2
    );
    chain_is_whole(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_in_doubt_are_settled_by_the_log() {
    for failure in [Failure::AfterCommit, Failure::BeforeCommit] {
        let log = new_log();
        let owner = Owner::claim(&log).await;
        let users: Vec<UserId> = (0..3_000).map(|_| UserId::new_v7()).collect();
        log.fail_next(&[failure]);
        let done = owner
            .bus
            .execute_all::<User>(orders(&users, register), &system())
            .await;
        // What was not applied is done again, one by one.
        assert!(
            done.iter().all(|it| it.as_ref().is_ok_and(|it| it.is_new)),
            "{failure:?}"
        );
        let registered = events(&log)
            .into_iter()
            .filter(|it| matches!(it.data, Event::User(_)));
        assert_eq!(registered.count(), users.len());
        chain_is_whole(&log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_claims_are_tried_again() {
    let log = new_log();
    log.fail_next(&[
        Failure::BeforeCommit,
        Failure::AfterCommit,
        Failure::AfterCommit,
        Failure::BeforeCommit,
    ]);
    let owner = Owner::claim(&log).await;
    owner.serves().await;
    owner.registered().await;
    chain_is_whole(&log);
}

#[derive(Clone, Debug)]
struct Step {
    user: usize,
    /// A few, so that a step may repeat an earlier one.
    role: u128,
    keyed: bool,
    failure: Option<bool>,
    /// How many of the following run at once with it.
    together: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let failure = prop::option::weighted(0.3, any::<bool>());
    (0..4_usize, 0..6_u128, any::<bool>(), failure, 1..4_usize).prop_map(
        |(user, role, keyed, failure, together)| Step {
            user,
            role,
            keyed,
            failure,
            together,
        },
    )
}

/// What a step asks for; every one without a key is told from all others by its expiry.
fn command(step: &Step, number: usize) -> domain::user::UserCommand {
    let micros = 4_102_444_800_000_000 + i64::try_from(number).unwrap();
    let expires_at = (!step.keyed).then(|| Timestamp::from_micros(micros));
    domain::user::UserCommand::GrantRole(domain::user::GrantRole {
        role_id: role(step.role),
        scope: None,
        expires_at,
        approval_id: None,
        only_held: false,
    })
}

async fn acknowledged_is_once_and_refused_is_never(steps: Vec<Step>) {
    let log = new_log();
    let owner = Owner::claim(&log).await;
    let users: Vec<UserId> = join_all((0..4).map(|_| owner.registered())).await;
    let mut rest = steps.iter().enumerate().peekable();
    let mut outcomes = Vec::new();
    while let Some(first) = rest.next() {
        let mut batch = vec![first];
        batch.extend(rest.by_ref().take(first.1.together - 1));
        for (_, step) in &batch {
            let failure = |after| {
                if after {
                    Failure::AfterCommit
                } else {
                    Failure::BeforeCommit
                }
            };
            log.fail_next(&step.failure.map(failure).into_iter().collect::<Vec<_>>());
        }
        let run = |(number, step): &(usize, &Step)| {
            let (owner, users) = (&owner, &users);
            let (number, step) = (*number, (*step).clone());
            async move {
                let id = users[step.user];
                let key = format!("{} {}", step.user, step.role);
                let context = if step.keyed {
                    keyed(&key, &key)
                } else {
                    crate::owner::system()
                };
                // Between owners nothing is accepted; what is accepted has an outcome.
                let outcome = loop {
                    owner.bus.settled().await;
                    match owner.user_with(id, command(&step, number), context.clone()).await {
                        Err(BusError::Unavailable) => tokio::time::sleep(Duration::from_millis(1)).await,
                        outcome => break outcome,
                    }
                };
                (number, step, outcome)
            }
        };
        outcomes.extend(join_all(batch.iter().map(run)).await);
    }
    let all = events(&log);
    for (number, step, outcome) in outcomes {
        let id = users[step.user].to_string();
        let domain::user::UserCommand::GrantRole(wanted) = command(&step, number) else {
            unreachable!()
        };
        let found = all
            .iter()
            .filter(|it| it.meta.aggregate_id == id)
            .filter(|it| match &it.data {
                Event::User(UserEvent::RoleGranted(event)) => {
                    (event.role_id, event.expires_at) == (wanted.role_id, wanted.expires_at)
                }
                _ => false,
            });
        let found: Vec<_> = found.collect();
        match outcome {
            Ok(receipt) if step.keyed => {
                // A no-op records nothing; else its events are exactly those that the receipt names.
                for record in &receipt.records {
                    assert!(
                        found.iter().any(|it| it.meta == record.meta),
                        "{step:?}: {record:?}"
                    );
                }
                assert!(!found.is_empty(), "{step:?}");
            }
            Ok(receipt) => {
                assert_eq!(found.len(), 1, "{step:?}");
                assert_eq!(receipt.records[0].meta, found[0].meta);
            }
            Err(error) => {
                assert!(is_not_done(&error), "{error:?}");
                assert!(step.keyed || found.is_empty(), "{step:?}");
            }
        }
    }
    chain_is_whole(&log);
    // A later owner sees what this one says it is.
    owner.serves().await;
    let before = join_all(
        users
            .iter()
            .map(async |id| owner.bus.inspect(&id.to_string()).await.unwrap()),
    )
    .await;
    owner.bus.shut_down().await;
    let next = Owner::claim(&log).await;
    for (id, before) in users.iter().zip(before) {
        let after = next
            .bus
            .inspect::<domain::user::User>(&id.to_string())
            .await
            .unwrap();
        assert_eq!(
            (after.aggregate, after.sequence, after.last),
            (before.aggregate, before.sequence, before.last)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_acknowledged_is_once_and_refused_is_never(
        steps in prop::collection::vec(step(), 1..25)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(acknowledged_is_once_and_refused_is_never(steps));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_shows_and_heartbeats_show_that_it_no_longer_is() {
    let log = new_log();
    let owner = Owner::claim(&log).await;
    assert_eq!(owner.bus.clock_ahead_ms(), 0);
    log.set_clock_ahead(-1_700);
    owner.registered().await;
    assert_eq!(owner.bus.clock_ahead_ms(), -1_700);
    log.set_clock_ahead(3);
    owner.bus.heartbeat();
    while owner.bus.clock_ahead_ms() != 3 {
        tokio::task::yield_now().await;
    }
    for ledger in 0..LEDGERS {
        while log.records(Target::Key(ledger)).is_empty() {
            tokio::task::yield_now().await;
        }
    }
    // Heartbeats are no doubt: nobody claims anew, least of all the catalog.
    let catalog = history(&log, "ledger-0");
    owner.define_role("still-served").await.unwrap();
    assert_eq!(history(&log, "ledger-0"), catalog);
    chain_is_whole(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_a_known_claim_is_not_served_and_not_written() {
    let (log, owners) = (new_log(), Owners::default());
    let known = Position {
        stream: Stream::Users,
        partition: 0,
        offset: 40,
    };
    owners.recall(known, Instance::alone());
    let (spec, ids) = (&specs()[0], Arc::new(SchemaIds::numbered()));
    let group = Group::start(Arc::clone(&log), spec, ids, Instance::alone(), owners);
    let mut status = group.status();
    let is_over = |status: &GroupStatus| !matches!(status, GroupStatus::Claiming(_));
    let status = status.wait_for(is_over).await.unwrap().clone();
    let GroupStatus::Halted(Halt::LogLost(reason)) = status else {
        panic!("{status:?}");
    };
    assert!(reason.contains("deleted, made anew or cut"), "{reason}");
    for &(stream, partition) in &spec.partitions {
        assert!(log.records(Target::Event(stream, partition)).is_empty());
    }
}
