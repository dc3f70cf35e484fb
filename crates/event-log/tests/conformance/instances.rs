//! Two instances on one log: what one does not own, it has the other answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::user::{GrantRole, User, UserCommand};
use event_log::{Bus, BusError, Forward, ForwardError, Group, Instance, MemoryLog, Owners, decode};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use schemas::log::LogEvent;
use schemas::user::UserEvent;
use schemas::{Event, LogId, Position, SchemaIds, Timestamp, UserId};

use crate::bulk::orders;
use crate::owner::{LEDGERS, grant, history, keyed, records, register, revoke, role, specs, system};

/// What goes wrong on the way to the other instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Fine,
    /// Nobody there.
    Down,
    /// The question arrives; the answer does not.
    AnswerLost,
}

/// Instead of HTTP.
#[derive(Clone)]
struct Road {
    to: Arc<Mutex<Option<Bus>>>,
    way: Arc<Mutex<Way>>,
    calls: Arc<AtomicUsize>,
}

impl Road {
    fn new() -> Self {
        Self {
            to: Arc::default(),
            way: Arc::new(Mutex::new(Way::Fine)),
            calls: Arc::default(),
        }
    }

    fn set(&self, way: Way) {
        *self.way.lock() = way;
    }

    async fn go(&self, body: Vec<u8>) -> Result<Vec<u8>, ForwardError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (way, bus) = (*self.way.lock(), self.to.lock().clone());
        let bus = bus.filter(|_| way != Way::Down);
        let bus = bus.ok_or_else(|| ForwardError::NotSent("down".to_owned()))?;
        let answer = bus.answer(&body).await.unwrap();
        match way {
            Way::AnswerLost => Err(ForwardError::Unclear("cut".to_owned())),
            Way::Fine | Way::Down => Ok(answer),
        }
    }
}

impl Forward for Road {
    fn forward<'a>(
        &'a self,
        _: &'a Instance,
        body: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, ForwardError>> {
        self.go(body).boxed()
    }
}

struct Pair {
    log: Arc<MemoryLog>,
    owners: Owners,
    /// Owns everything.
    owner: Bus,
    /// Owns nothing.
    other: Bus,
    road: Road,
    /// From the owner to the other: nobody there, unless a test says so.
    back: Road,
}

fn instance(address: &str) -> Instance {
    Instance {
        address: address.to_owned(),
        ..Instance::alone()
    }
}

fn claim_all(bus: &Bus, log: &Arc<MemoryLog>, own: &Instance, owners: &Owners) {
    let ids = Arc::new(SchemaIds::numbered());
    for spec in specs() {
        let group = Group::start(
            Arc::clone(log),
            &spec,
            Arc::clone(&ids),
            own.clone(),
            owners.clone(),
        );
        bus.route(&spec.partitions, group);
    }
}

async fn pair() -> Pair {
    let log = Arc::new(MemoryLog::new(LogId::new_v7()));
    let (owners, road, back) = (Owners::default(), Road::new(), Road::new());
    let (a, b) = (instance("http://a"), instance("http://b"));
    let owner = Bus::among(LEDGERS, a.clone(), owners.clone(), back.clone());
    claim_all(&owner, &log, &a, &owners);
    owner.settled().await;
    // In production the tail brings the claims.
    learn_claims(&log, &owners);
    *road.to.lock() = Some(owner.clone());
    let other = Bus::among(LEDGERS, b, owners.clone(), road.clone());
    Pair {
        log,
        owners,
        owner,
        other,
        road,
        back,
    }
}

#[tokio::test]
async fn many_commands_reach_the_owner_in_a_few_calls() {
    let pair = pair().await;
    let users: Vec<UserId> = (0..200).map(|_| UserId::new_v7()).collect();
    let before = pair.road.calls.load(Ordering::Relaxed);
    let done = pair
        .other
        .execute_all::<User>(orders(&users, register), &system())
        .await;
    assert!(
        done.iter().all(|it| it.as_ref().is_ok_and(|it| it.is_new)),
        "{done:?}"
    );
    assert_eq!(pair.road.calls.load(Ordering::Relaxed) - before, 4);
    // Refusals travel too, each to its own place.
    let known = |number: usize| {
        if number.is_multiple_of(2) {
            users[number]
        } else {
            UserId::new_v7()
        }
    };
    let mixed: Vec<UserId> = (0..200).map(known).collect();
    let done = pair
        .other
        .execute_all::<User>(orders(&mixed, |_| grant(1)), &system())
        .await;
    for (number, outcome) in done.iter().enumerate() {
        assert_eq!(outcome.is_ok(), number.is_multiple_of(2), "{number}: {outcome:?}");
    }
}

/// Whoever sends many commands sends such as bear repeating.
#[tokio::test]
async fn of_many_commands_whose_answer_is_lost_none_is_done_twice() {
    let pair = pair().await;
    let users: Vec<UserId> = (0..70).map(|_| UserId::new_v7()).collect();
    pair.road.set(Way::AnswerLost);
    let (other, sent) = (pair.other.clone(), orders(&users, register));
    let waiting = tokio::spawn(async move { other.execute_all::<User>(sent, &system()).await });
    // All has been done once when the way is mended.
    while users
        .iter()
        .any(|id| history(&pair.log, &id.to_string()).is_empty())
    {
        tokio::task::yield_now().await;
    }
    pair.road.set(Way::Fine);
    let done = waiting.await.unwrap();
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(
        users
            .iter()
            .all(|id| history(&pair.log, &id.to_string()).len() == 1)
    );
}

fn learn_claims(log: &Arc<MemoryLog>, owners: &Owners) {
    for record in records(log) {
        let stored = decode(&record, &SchemaIds::numbered()).unwrap();
        if let Event::Log(LogEvent::LedgerClaimed(claim)) = &stored.data {
            let position = Position {
                stream: record.stream,
                partition: record.partition,
                offset: record.offset,
            };
            owners.learn(position, claim);
        }
    }
}

fn grants(log: &Arc<MemoryLog>, user: UserId) -> usize {
    let events = history(log, &user.to_string());
    let granted = |event: &Event| matches!(event, Event::User(UserEvent::RoleGranted(_)));
    events.iter().filter(|(_, event)| granted(event)).count()
}

async fn registered(bus: &Bus) -> UserId {
    let id = UserId::new_v7();
    bus.execute::<User>(&id.to_string(), register(id), system())
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn a_command_runs_at_the_owner_wherever_it_arrives() {
    let pair = pair().await;
    let user = registered(&pair.other).await;
    let id = user.to_string();
    let receipt = pair.other.execute::<User>(&id, grant(1), system()).await.unwrap();
    assert_eq!(receipt.records.len(), 1);
    let seen = pair.other.inspect::<User>(&id).await.unwrap();
    assert_eq!(seen.sequence, 2);
    assert_eq!(
        seen.aggregate,
        pair.owner.inspect_proven::<User>(&id).await.unwrap().aggregate
    );
    // Refusals travel too.
    let nobody = UserId::new_v7().to_string();
    let refused = pair.other.execute::<User>(&nobody, grant(1), system()).await;
    assert_eq!(
        refused.unwrap_err(),
        BusError::Refused(domain::user::Error::NotFound)
    );
}

#[tokio::test]
async fn one_key_is_one_command_at_whichever_instance() {
    let pair = pair().await;
    let user = registered(&pair.owner).await;
    let (id, command) = (user.to_string(), grant(1));
    let first = pair
        .other
        .execute::<User>(&id, command.clone(), keyed("k", "r"))
        .await
        .unwrap();
    let again = pair
        .owner
        .execute::<User>(&id, command, keyed("k", "r"))
        .await
        .unwrap();
    assert_eq!((first.records, true), (again.records, again.replayed));
    assert_eq!(grants(&pair.log, user), 1);
    let other = pair
        .other
        .execute::<User>(&id, grant(2), keyed("k", "another"))
        .await;
    assert_eq!(other.unwrap_err(), BusError::KeyReused);
}

/// Without a key of the caller's, too.
#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_the_command_is_carried_out_once() {
    let pair = pair().await;
    let user = registered(&pair.owner).await;
    pair.road.set(Way::AnswerLost);
    let road = pair.road.clone();
    let mended = tokio::spawn(async move {
        while road.calls.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        road.set(Way::Fine);
    });
    let receipt = pair
        .other
        .execute::<User>(&user.to_string(), grant(1), system())
        .await;
    mended.await.unwrap();
    assert!(receipt.unwrap().replayed);
    assert_eq!(grants(&pair.log, user), 1);
}

/// The first try may still be on its way to the very owner that refuses the second.
#[tokio::test]
async fn a_refusal_after_a_lost_answer_is_no_proof_from_the_same_owner() {
    let pair = pair().await;
    let user = registered(&pair.owner).await;
    let refused = UserCommand::GrantRole(GrantRole {
        role_id: role(1),
        scope: None,
        expires_at: Some(Timestamp::from_micros(1)),
        approval_id: None,
        only_held: false,
    });
    pair.road.set(Way::AnswerLost);
    let road = pair.road.clone();
    let mended = tokio::spawn(async move {
        while road.calls.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        road.set(Way::Fine);
    });
    let outcome = pair
        .other
        .execute::<User>(&user.to_string(), refused, system())
        .await;
    mended.await.unwrap();
    assert_eq!(outcome.unwrap_err(), BusError::OutcomeUnknown);
}

#[tokio::test]
async fn a_command_waits_for_the_next_owner() {
    let pair = pair().await;
    let user = registered(&pair.owner).await;
    pair.road.set(Way::Down);
    let (id, other) = (user.to_string(), pair.other.clone());
    let waiting = tokio::spawn(async move { other.execute::<User>(&id, grant(1), system()).await });
    while pair.road.calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // This instance takes over itself.
    claim_all(&pair.other, &pair.log, &instance("http://b"), &pair.owners);
    assert_eq!(waiting.await.unwrap().unwrap().records.len(), 1);
    assert_eq!(grants(&pair.log, user), 1);
    // The former owner learns of it when it next writes or proves, and passes nothing on by itself.
    let (id, before) = (user.to_string(), pair.owner.serving().len());
    let late = pair.owner.inspect_proven::<User>(&id).await;
    assert!(late.is_err(), "{late:?}");
    assert!(pair.owner.serving().len() < before);
}

/// As whoever is about to take over has its owner.
async fn paused(bus: &Bus, user: &str) -> bool {
    let partition = bus.partition_of::<User>(user);
    let body = format!(
        r#"{{"about":"pause","stream":"users","partition":{partition},"within":{{"secs":1,"nanos":0}}}}"#
    );
    serde_json::from_slice(&bus.answer(body.as_bytes()).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_pause_is_carried_out_by_the_next_owner() {
    let pair = pair().await;
    let user = registered(&pair.owner).await;
    let id = user.to_string();
    assert!(!paused(&pair.other, &id).await, "it serves nothing");
    assert!(paused(&pair.owner, &id).await);
    let (asked, owner) = (id.clone(), pair.owner.clone());
    let waiting = tokio::spawn(async move { owner.execute::<User>(&asked, grant(1), system()).await });
    claim_all(&pair.other, &pair.log, &instance("http://b"), &pair.owners);
    pair.other.settled().await;
    *pair.back.to.lock() = Some(pair.other.clone());
    // From the tail: it lets go without a try to write.
    learn_claims(&pair.log, &pair.owners);
    assert_eq!(waiting.await.unwrap().unwrap().records.len(), 1);
    assert_eq!(grants(&pair.log, user), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_nobody_uses_ends_by_itself() {
    let pair = pair().await;
    let id = registered(&pair.owner).await.to_string();
    assert!(paused(&pair.owner, &id).await);
    let granted = pair.owner.execute::<User>(&id, grant(1), system()).await;
    assert_eq!(granted.unwrap().records.len(), 1);
}

/// What goes to another instance without a key of the caller's gets one of the instance's.
#[tokio::test]
async fn what_instances_may_repeat_takes_no_room_of_what_callers_may() {
    let pair = pair().await;
    let id = registered(&pair.owner).await.to_string();
    let first = pair
        .other
        .execute::<User>(&id, grant(0), keyed("k", "r"))
        .await
        .unwrap();
    for _ in 0..600 {
        for command in [grant(1), revoke(1)] {
            pair.other.execute::<User>(&id, command, system()).await.unwrap();
        }
    }
    let again = pair
        .other
        .execute::<User>(&id, grant(0), keyed("k", "r"))
        .await
        .unwrap();
    assert_eq!((first.records, true), (again.records, again.replayed));
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let pair = pair().await;
    for body in [
        &b""[..],
        b"{}",
        br#"{"about":"aggregate","stream":"users","id":"x","within":{"secs":1,"nanos":0}}"#,
        br#"{"about":"pause","stream":"users","within":{"secs":1,"nanos":0}}"#,
    ] {
        assert!(pair.owner.answer(body).await.is_err());
    }
}
