//! Stores that were edited, set back, or belong to others: owners believe what is proven, and the log.

use std::sync::Arc;
use std::time::Instant;

use event_log::{GroupStatus, Halt, MemoryLog, SnapshotKey, StateRow, Target, WriterLog};
use schemas::UserId;

use crate::owner::{Owner, confirm, grant, index, revoke};
use crate::snapshots::{EVERY, Edit, LONG, World, evicted, people, place_of, places, states, until};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_tampered_with_are_not_believed() {
    let edits: [Edit; 4] = [
        |rows, id| rows.get_mut(id).unwrap().state[30] ^= 1,
        |rows, id| rows.get_mut(id).unwrap().sequence += 1,
        |rows, id| drop(rows.remove(id)),
        // Another's state, genuine as such.
        |rows, id| {
            let other = rows.values().find(|row| row.id != id).unwrap();
            let swapped = StateRow {
                id: id.to_owned(),
                ..other.clone()
            };
            rows.insert(id.to_owned(), swapped);
        },
    ];
    for edit in edits {
        let world = World::new();
        let owner = world.owner(0).await;
        let users = people(&owner, 12).await;
        let expected = states(&owner, &users).await;
        world.saved().await;
        evicted(&world, &owner, &users).await;
        let victim = users[0].to_string();
        let place = place_of(&owner, users[0]);
        let genuine = world.store.row(place, &victim).unwrap();
        world.store.edit(place, |rows| edit(rows, &victim));
        // Asked until it has to be fetched, it is never another.
        let read = world.log.records_read();
        let deadline = Instant::now() + LONG;
        while world.log.records_read() == read {
            assert_eq!(states(&owner, &users).await, expected);
            assert!(Instant::now() < deadline, "the row was never fetched");
            tokio::time::sleep(EVERY).await;
        }
        until("the row is as it was", || {
            world.store.row(place, &victim).as_ref() == Some(&genuine)
        })
        .await;
        owner.bus.shut_down().await;
        // And the whole is as it was: it is believed again.
        let read = world.log.records_read();
        let next = world.owner(0).await;
        assert_eq!(world.log.records_read(), read);
        assert_eq!(states(&next, &users).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_tampered_with_is_not_used() {
    let edits: [Edit; 3] = [
        |rows, id| rows.get_mut(id).unwrap().sequence -= 1,
        |rows, id| drop(rows.remove(id)),
        |rows, id| rows.get_mut(id).unwrap().pinned ^= true,
    ];
    for edit in edits {
        let world = World::new();
        let owner = world.owner(0).await;
        let users = people(&owner, 12).await;
        let expected = states(&owner, &users).await;
        let place = place_of(&owner, users[0]);
        owner.bus.shut_down().await;
        world.store.edit(place, |rows| edit(rows, &users[0].to_string()));
        let read = world.log.records_read();
        let next = world.owner(0).await;
        let history = world.log.records(Target::Event(place.0, place.1)).len();
        assert!(
            world.log.records_read() >= read + history - 1,
            "that partition's log is read"
        );
        assert_eq!(states(&next, &users).await, expected);
        world.saved().await;
        next.bus.shut_down().await;
        let read = world.log.records_read();
        let third = world.owner(0).await;
        assert_eq!(world.log.records_read(), read, "it was saved anew");
        assert_eq!(states(&third, &users).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_under_a_running_owner_is_noticed_and_mended() {
    let world = World::new();
    let owner = world.owner(0).await;
    let users = people(&owner, 20).await;
    world.saved().await;
    let copy = world.store.copy();
    for id in &users {
        owner.user(*id, grant(77)).await.unwrap();
        owner.user(*id, revoke(77)).await.unwrap();
    }
    let late = people(&owner, 5).await;
    let all: Vec<UserId> = users.iter().chain(&late).copied().collect();
    world.saved().await;
    evicted(&world, &owner, &all).await;
    let expected = states(&owner, &all).await;
    world.store.restore(&copy);
    assert_eq!(states(&owner, &all).await, expected);
    // The next save finds it.
    for id in &all {
        owner.user(*id, grant(78)).await.unwrap();
        let mail = index(&id.to_string());
        owner.identifier(mail, confirm(*id)).await.unwrap();
    }
    world.saved().await;
    let expected = states(&owner, &all).await;
    owner.bus.shut_down().await;
    let read = world.log.records_read();
    let next = world.owner(0).await;
    assert_eq!(world.log.records_read(), read);
    assert_eq!(states(&next, &all).await, expected);
    assert_eq!(expected, world.by_the_log(&all).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_replaced_saves_nothing() {
    let world = World::new();
    let first = world.owner(1_000).await;
    let users = people(&first, 10).await;
    let second = world.owner(1_000).await;
    let positions = || {
        places()
            .into_iter()
            .map(|place| world.store.position(place))
            .collect::<Vec<_>>()
    };
    for id in &users {
        second.user(*id, grant(5)).await.unwrap();
    }
    world.saved().await;
    let stored = positions();
    for id in &users {
        first.user(*id, grant(6)).await.unwrap_err();
    }
    first.define_role("late").await.unwrap_err();
    first.bus.shut_down().await;
    assert_eq!(positions(), stored);
    let states = states(&second, &users).await;
    assert_eq!(states, world.by_the_log(&users).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_shorter_than_its_snapshot_is_not_served() {
    let world = World::new();
    let owner = world.owner(1_000).await;
    people(&owner, 10).await;
    owner.bus.shut_down().await;
    let anew = World {
        log: Arc::new(MemoryLog::new(world.log.log_id())),
        ..world
    };
    let owner = Owner::start_from(&anew.log, Some(&anew.snapshots(10)));
    owner.bus.settled().await;
    for status in &owner.status {
        let status = status.borrow().clone();
        let GroupStatus::Halted(Halt::LogLost(reason)) = status else {
            panic!("{status:?}");
        };
        assert!(reason.contains("truncated or made anew"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_opens_nothing() {
    let mut world = World::new();
    let owner = world.owner(0).await;
    let users = people(&owner, 10).await;
    let expected = states(&owner, &users).await;
    owner.bus.shut_down().await;
    world.key = SnapshotKey::new(&[2; 32]);
    let read = world.log.records_read();
    let next = world.owner(0).await;
    assert!(world.log.records_read() >= read + 30, "the log is read instead");
    assert_eq!(states(&next, &users).await, expected);
    next.bus.shut_down().await;
    let read = world.log.records_read();
    let third = world.owner(0).await;
    assert_eq!(world.log.records_read(), read, "saved anew, under the new key");
    assert_eq!(states(&third, &users).await, expected);
}
