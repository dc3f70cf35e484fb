//! Owners that save their aggregates, over the log and a store in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::identifier::Identifier;
use domain::user::{User, UserCommand};
use event_log::{MemoryLog, MemorySnapshots, Place, SnapshotKey, Snapshots, StateRow, Target};
use proptest::prelude::*;
use schemas::{LogId, Stream, UserId};

use crate::owner::{Owner, grant, index, keyed, register, reserve, revoke, specs};
use crate::store_cases;

pub const EVERY: Duration = Duration::from_millis(5);
pub const LONG: Duration = Duration::from_secs(30);

/// Of a partition's rows, to the harm of one aggregate.
pub type Edit = fn(&mut BTreeMap<String, StateRow>, &str);

pub struct World {
    pub log: Arc<MemoryLog>,
    pub store: MemorySnapshots,
    pub key: SnapshotKey,
}

impl World {
    pub fn new() -> Self {
        Self {
            log: Arc::new(MemoryLog::new(LogId::new_v7())),
            store: MemorySnapshots::default(),
            key: SnapshotKey::new(&[1; 32]),
        }
    }

    pub fn snapshots(&self, residents: usize) -> Snapshots {
        Snapshots::new(Arc::new(self.store.clone()), self.key.clone(), residents)
            .every(EVERY)
            .patience(EVERY)
    }

    /// An owner with room for so many aggregates.
    pub async fn owner(&self, residents: usize) -> Owner {
        let owner = Owner::start_from(&self.log, Some(&self.snapshots(residents)));
        owner.bus.settled().await;
        owner.serves().await;
        owner
    }

    /// Everything in the log by now is in the snapshots.
    pub async fn saved(&self) {
        for place in places() {
            let last = self
                .log
                .records(Target::Event(place.0, place.1))
                .last()
                .map(|it| it.0);
            let Some(last) = last else { continue };
            until("everything is saved", || {
                self.store.position(place).is_some_and(|it| it.next_offset > last)
            })
            .await;
        }
    }

    /// What all users and identifiers are, by an owner that reads the log alone.
    pub async fn by_the_log(&self, users: &[UserId]) -> Vec<String> {
        let owner = Owner::claim(&self.log).await;
        let states = states(&owner, users).await;
        owner.bus.shut_down().await;
        states
    }
}

pub fn places() -> Vec<Place> {
    specs().into_iter().flat_map(|spec| spec.partitions).collect()
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn place_of(owner: &Owner, id: UserId) -> Place {
    (Stream::Users, owner.bus.partition_of::<User>(&id.to_string()))
}

/// State, sequence and last position of each user and of their identifier.
pub async fn states(owner: &Owner, users: &[UserId]) -> Vec<String> {
    let mut states = Vec::new();
    for id in users {
        let user = owner.bus.inspect::<User>(&id.to_string()).await.unwrap();
        let mail = index(&id.to_string()).to_hex();
        let identifier = owner.bus.inspect::<Identifier>(&mail).await.unwrap();
        states.push(format!("{user:?} {identifier:?}"));
    }
    states
}

/// Users with a grant or two, and a reserved identifier each.
pub async fn people(owner: &Owner, count: u128) -> Vec<UserId> {
    let people = (0..count).map(|number| async move {
        let id = owner.registered().await;
        owner.user(id, grant(number)).await.unwrap();
        owner
            .identifier(index(&id.to_string()), reserve(id))
            .await
            .unwrap();
        id
    });
    futures::future::join_all(people).await
}

/// Until the store was asked for a state: then something had left memory.
pub async fn evicted(world: &World, owner: &Owner, users: &[UserId]) {
    let before = world.store.fetched();
    let deadline = Instant::now() + LONG;
    while world.store.fetched() < before + users.len() {
        assert!(Instant::now() < deadline, "nothing leaves memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
        states(owner, users).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_conforms() {
    store_cases::all(|| Arc::new(MemorySnapshots::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_memory_comes_back_as_it_was() {
    let world = World::new();
    let owner = world.owner(0).await;
    let users = people(&owner, 20).await;
    let first = owner
        .user_with(users[0], grant(99), keyed("key", "grant 99"))
        .await
        .unwrap();
    world.saved().await;
    evicted(&world, &owner, &users).await;
    // Commands go on from there, and a key finds its events.
    let again = owner
        .user_with(users[0], grant(99), keyed("key", "grant 99"))
        .await
        .unwrap();
    assert!(again.replayed && again.records == first.records);
    let next = owner.user(users[1], grant(98)).await.unwrap();
    assert_eq!(next.records[0].meta.sequence, 3);
    // Reserved identifiers are found although others left.
    let (reserved, all_seen) = owner.bus.at_rest::<Identifier>(|_| true);
    assert!(!all_seen || reserved.len() == users.len(), "{}", reserved.len());
    let states = states(&owner, &users).await;
    assert_eq!(states, world.by_the_log(&users).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_reads_only_the_tail() {
    let world = World::new();
    let owner = world.owner(1_000).await;
    let users = people(&owner, 30).await;
    let first = owner
        .user_with(users[3], grant(99), keyed("key", "grant 99"))
        .await
        .unwrap();
    owner.bus.shut_down().await;

    let read = world.log.records_read();
    let next = world.owner(1_000).await;
    assert_eq!(world.log.records_read(), read, "everything was saved at the end");
    // What its predecessor answered under a key, it answers again.
    let again = next
        .user_with(users[3], grant(99), keyed("key", "grant 99"))
        .await
        .unwrap();
    assert!(again.replayed && again.records == first.records);

    world.saved().await;
    world.store.set_down(true);
    for id in &users[..7] {
        next.user(*id, grant(50)).await.unwrap();
    }
    let late = next.registered().await;
    // Killed: its groups are taken over as they are.
    world.store.set_down(false);
    let (read, fetched) = (world.log.records_read(), world.store.fetched());
    let third = Owner::start_from(&world.log, Some(&world.snapshots(1_000).every(LONG)));
    third.bus.settled().await;
    third.serves().await;
    let tail = world.log.records_read() - read;
    assert!(tail <= 8 + 9, "{tail} records read");
    let pinned = users.len();
    assert!(
        world.store.fetched() - fetched <= 7 + pinned,
        "only what the tail is about, and reserved names"
    );
    let mut all = users;
    all.push(late);
    let states = states(&third, &all).await;
    assert_eq!(states, world.by_the_log(&all).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_under_load_goes_on_from_what_its_predecessor_still_saves() {
    let world = World::new();
    let first = world.owner(0).await;
    let users = people(&first, 20).await;
    world.saved().await;
    let load = users.iter().map(|id| {
        let (bus, id) = (first.bus.clone(), *id);
        tokio::spawn(async move {
            let mut done = 0;
            for number in 100.. {
                let command = grant(number);
                let context = crate::owner::system();
                if bus
                    .execute::<User>(&id.to_string(), command, context)
                    .await
                    .is_err()
                {
                    break;
                }
                done += 1;
            }
            done
        })
    });
    let load: Vec<_> = load.collect();
    for round in 0..3 {
        tokio::time::sleep(EVERY * 10).await;
        let next = world.owner(0).await;
        let states = states(&next, &users).await;
        assert_eq!(states.len(), users.len(), "round {round}");
    }
    let mut granted = 0;
    for task in load {
        granted += task.await.unwrap();
    }
    let last = world.owner(0).await;
    let mut found = 0;
    for id in &users {
        let user = last.bus.inspect::<User>(&id.to_string()).await.unwrap();
        found += user.aggregate.grants.len() - 1;
    }
    assert_eq!(
        found, granted,
        "everything acknowledged is there, and nothing else"
    );
    let states = states(&last, &users).await;
    assert_eq!(states, world.by_the_log(&users).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_commands_go_on() {
    let world = World::new();
    world.store.set_down(true);
    let owner = world.owner(0).await;
    let users = people(&owner, 10).await;
    world.store.set_down(false);
    world.saved().await;
    evicted(&world, &owner, &users).await;
    world.store.set_down(true);
    for id in &users {
        owner.user(*id, grant(44)).await.unwrap();
    }
    world.store.set_down(false);
    world.store.lose_answers(6);
    world.saved().await;
    let states = states(&owner, &users).await;
    assert_eq!(states, world.by_the_log(&users).await);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Command { user: usize, role: u128, revoke: bool },
    Name { user: usize },
    Wait,
    Restart { saved: bool },
    StoreDown(bool),
    LoseAnswer,
    Copy,
    Restore,
    Tamper { user: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let command = (0..6usize, 0..4u128, any::<bool>());
    prop_oneof![
        12 => command.prop_map(|(user, role, revoke)| Step::Command { user, role, revoke }),
        3 => (0..6usize).prop_map(|user| Step::Name { user }),
        4 => Just(Step::Wait),
        2 => any::<bool>().prop_map(|saved| Step::Restart { saved }),
        2 => any::<bool>().prop_map(Step::StoreDown),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::Copy),
        1 => Just(Step::Restore),
        1 => (0..6usize).prop_map(|user| Step::Tamper { user }),
    ]
}

fn command_of(id: UserId, role: u128, revoked: bool) -> UserCommand {
    match (role, revoked) {
        (0, _) => register(id),
        (role, false) => grant(role),
        (role, true) => revoke(role),
    }
}

/// Runs the steps, and gives what the users are in the end: with snapshots, and by the log alone.
async fn run(steps: Vec<Step>) -> (Vec<String>, Vec<String>) {
    let world = World::new();
    let mut owner = world.owner(0).await;
    let users: Vec<UserId> = (0..6).map(|_| UserId::new_v7()).collect();
    let mut copy = world.store.copy();
    for step in steps {
        match step {
            Step::Command { user, role, revoke } => {
                let command = command_of(users[user], role, revoke);
                // Refusals are answers too.
                drop(owner.user(users[user], command).await);
            }
            Step::Name { user } => {
                let mail = index(&users[user].to_string());
                drop(owner.identifier(mail, reserve(users[user])).await);
            }
            Step::Wait => tokio::time::sleep(EVERY * 3).await,
            Step::Restart { saved } => {
                if saved {
                    owner.bus.shut_down().await;
                }
                owner = world.owner(0).await;
            }
            Step::StoreDown(down) => world.store.set_down(down),
            Step::LoseAnswer => world.store.lose_answers(1),
            Step::Copy => copy = world.store.copy(),
            Step::Restore => world.store.restore(&copy),
            Step::Tamper { user } => {
                let place = place_of(&owner, users[user]);
                world.store.edit(place, |rows| {
                    if let Some(row) = rows.get_mut(&users[user].to_string()) {
                        row.state.reverse();
                    }
                });
            }
        }
    }
    (states(&owner, &users).await, world.by_the_log(&users).await)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn snapshots_change_no_state(steps in prop::collection::vec(any_step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (with, without) = runtime.block_on(run(steps));
        prop_assert_eq!(with, without);
    }
}
