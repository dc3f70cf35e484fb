//! The cases, for any log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::catalog::Catalog;
use domain::identifier::Identifier;
use domain::user::{self, User};
use event_log::{BusError, GroupStatus, WriterLog};
use futures::future::join_all;
use schemas::{Event, Stream, UserId};

use crate::owner::{
    Owner, confirm, events, grant, history, index, is_not_done, keyed, records, register, release, reserve,
    revoke, specs, with_data_key,
};

pub async fn commands_are_recorded_in_order<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let id = UserId::new_v7();
    for (sequence, command) in (1..).zip([register(id), grant(1), grant(2), revoke(1)]) {
        let receipt = owner.user(id, command).await.unwrap();
        let record = &receipt.records[0];
        assert_eq!((receipt.records.len(), receipt.replayed), (1, false));
        assert_eq!(
            (record.meta.sequence, record.meta.aggregate_id.clone()),
            (sequence, id.to_string())
        );
        assert_eq!(receipt.last, Some(record.position));
        let expected = (Stream::Users, owner.bus.partition_of::<User>(&id.to_string()));
        assert_eq!((record.position.stream, record.position.partition), expected);
        // The receipt tells the truth about the place.
        let mut found = records(log)
            .into_iter()
            .filter(|it| it.offset == record.position.offset);
        let found = found.find(|it| (it.stream, it.partition) == expected).unwrap();
        assert_eq!(found.key, id.to_string().as_bytes());
    }
    let nothing = owner.user(id, revoke(1)).await.unwrap();
    assert!(nothing.records.is_empty() && nothing.last.is_some());
    let refused = owner.user(UserId::new_v7(), grant(1)).await.unwrap_err();
    assert!(matches!(refused, BusError::Refused(user::Error::NotFound)));

    let mail = index("a@example.org");
    owner.identifier(mail, reserve(id)).await.unwrap();
    owner.identifier(mail, confirm(id)).await.unwrap();
    let taken = owner
        .identifier(mail, reserve(UserId::new_v7()))
        .await
        .unwrap_err();
    assert!(matches!(
        taken,
        BusError::Refused(domain::identifier::Error::Taken)
    ));
    owner.identifier(mail, release(id)).await.unwrap();
    owner.define_role("reader").await.unwrap();
    assert_eq!(history(log, &id.to_string()).len(), 4);
    assert_eq!(history(log, &mail.to_hex()).len(), 3);
    assert_eq!(history(log, "catalog").len(), 1);
}

pub async fn a_new_owner_reads_everything_back<L: WriterLog>(log: &Arc<L>) {
    let first = Owner::claim(log).await;
    let mut users = Vec::new();
    for number in 0..20 {
        let id = first.registered().await;
        first.user(id, grant(number)).await.unwrap();
        first.user(id, grant(number + 1)).await.unwrap();
        first.user(id, revoke(number)).await.unwrap();
        first
            .identifier(index(&number.to_string()), reserve(id))
            .await
            .unwrap();
        first.define_role(&format!("role-{number}")).await.unwrap();
        users.push(id);
    }
    first.bus.shut_down().await;
    first.given_up().await;
    let second = Owner::claim(log).await;
    for (number, id) in users.iter().enumerate() {
        let (one, other) = (id.to_string(), index(&number.to_string()).to_hex());
        let user = second.bus.inspect::<User>(&one).await.unwrap();
        let expected = user::User::clone(&user.aggregate);
        assert_eq!((user.sequence, expected.grants.len()), (4, 1));
        let last = records(log)
            .into_iter()
            .rfind(|it| it.key == one.as_bytes())
            .unwrap();
        assert_eq!(user.last.map(|it| it.offset), Some(last.offset));
        let identifier = second.bus.inspect::<Identifier>(&other).await.unwrap();
        assert_eq!(identifier.aggregate.holder().map(|it| it.user_id), Some(*id));
        assert_eq!(identifier.sequence, 1);
    }
    assert_eq!(
        second.bus.inspect::<Catalog>("catalog").await.unwrap().sequence,
        20
    );
    // And goes on where the first ended.
    let receipt = second.user(users[0], grant(99)).await.unwrap();
    assert_eq!(receipt.records[0].meta.sequence, 5);
}

pub async fn commands_on_one_aggregate_take_turns<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let id = owner.registered().await;
    let distinct = (0..30).map(|number| owner.user(id, grant(number)));
    let same = (0..30).map(|_| owner.user(id, grant(1_000)));
    let receipts: Vec<_> = join_all(distinct.chain(same))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let mut sequences: Vec<i64> = receipts
        .iter()
        .flat_map(|it| &it.records)
        .map(|record| record.meta.sequence)
        .collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (2..=32).collect::<Vec<i64>>());
    assert_eq!(receipts.iter().filter(|it| it.records.is_empty()).count(), 29);

    // Of contenders for one name exactly one gets it.
    let contenders: Vec<UserId> = (0..30).map(|_| UserId::new_v7()).collect();
    let mail = index("wanted");
    let outcomes = join_all(contenders.iter().map(|it| owner.identifier(mail, reserve(*it)))).await;
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 1);
    assert_eq!(history(log, &mail.to_hex()).len(), 1);
}

pub async fn an_idempotency_key_finds_its_events<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let id = owner.registered().await;
    let tries = (0..10).map(|_| owner.user_with(id, grant(1), keyed("key", "grant 1")));
    let receipts: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|it| !it.replayed).count(), 1);
    assert!(receipts.iter().all(|it| it.records == receipts[0].records));
    owner.user(id, revoke(1)).await.unwrap();
    let late = owner
        .user_with(id, grant(1), keyed("key", "grant 1"))
        .await
        .unwrap();
    assert!(late.replayed && late.records == receipts[0].records);
    let other = owner
        .user_with(id, grant(2), keyed("key", "grant 2"))
        .await
        .unwrap_err();
    assert!(matches!(other, BusError::KeyReused));
    owner.bus.shut_down().await;

    let next = Owner::claim(log).await;
    let late = next
        .user_with(id, grant(1), keyed("key", "grant 1"))
        .await
        .unwrap();
    assert!(late.replayed);
    assert_eq!(late.records, receipts[0].records);
    let other = next
        .user_with(id, grant(2), keyed("key", "grant 2"))
        .await
        .unwrap_err();
    assert!(matches!(other, BusError::KeyReused));
    assert_eq!(history(log, &id.to_string()).len(), 3);
}

pub async fn a_replaced_owner_never_says_yes<L: WriterLog>(log: &Arc<L>) {
    let first = Owner::claim(log).await;
    let users = join_all((0..8).map(|_| first.registered())).await;
    let second = Owner::claim(log).await;
    let tries = join_all(users.iter().map(|id| first.user(*id, grant(1)))).await;
    for outcome in &tries {
        assert!(outcome.as_ref().is_err_and(is_not_done), "{outcome:?}");
    }
    assert!(
        first
            .define_role("late")
            .await
            .is_err_and(|error| is_not_done(&error))
    );
    for id in &users {
        assert_eq!(history(log, &id.to_string()).len(), 1);
        let receipt = second.user(*id, grant(2)).await.unwrap();
        assert_eq!(receipt.records[0].meta.sequence, 2);
    }
    first.given_up().await;
    assert!(matches!(
        first.user(users[0], grant(1)).await,
        Err(BusError::Unavailable)
    ));
    assert!(first.bus.inspect::<User>(&users[0].to_string()).await.is_err());
}

/// What changes nothing must be as true as what changes something: a replaced owner remembers a
/// state that may be long over.
pub async fn a_replaced_owner_does_not_answer_from_memory<L: WriterLog>(log: &Arc<L>) {
    let first = Owner::claim(log).await;
    let granted = first.registered().await;
    first.user(granted, grant(1)).await.unwrap();
    let mail = index("free soon");
    first.identifier(mail, reserve(granted)).await.unwrap();
    first.identifier(mail, confirm(granted)).await.unwrap();
    let unknown = UserId::new_v7();

    let second = Owner::claim(log).await;
    second.user(granted, revoke(1)).await.unwrap();
    second.identifier(mail, release(granted)).await.unwrap();
    second.user(unknown, register(unknown)).await.unwrap();

    // Granted already, taken, unknown: none of it is true any more.
    let (again, taken, missing) = tokio::join!(
        first.user(granted, grant(1)),
        first.identifier(mail, reserve(UserId::new_v7())),
        first.user(unknown, grant(1)),
    );
    assert!(
        again.as_ref().is_err_and(is_not_done),
        "granted already? {again:?}"
    );
    assert!(taken.as_ref().is_err_and(is_not_done), "taken? {taken:?}");
    assert!(
        missing.as_ref().is_err_and(is_not_done),
        "no such user? {missing:?}"
    );
}

pub async fn a_lone_owner_recovers_by_itself<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let users = join_all((0..8).map(|_| owner.registered())).await;
    // Somebody takes the ids and dies before writing a claim.
    for spec in specs() {
        drop(log.claim(&spec.transactional_id(), &mut || {}).unwrap());
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    for id in &users {
        loop {
            match owner.user(*id, grant(1)).await {
                Ok(_) => break,
                Err(error) => assert!(is_not_done(&error), "{error:?}"),
            }
            assert!(Instant::now() < deadline, "it does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(history(log, &id.to_string()).len(), 2);
    }
}

pub async fn of_two_owners_at_once_one_remains<L: WriterLog>(log: &Arc<L>) {
    let (one, other) = (Owner::start(log), Owner::start(log));
    one.bus.settled().await;
    other.bus.settled().await;
    let mut acknowledged = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut number, mut roles) = (0, 0);
    loop {
        number += 1;
        let (id, second) = (UserId::new_v7(), UserId::new_v7());
        let (a, b) = tokio::join!(one.user(id, register(id)), other.user(second, register(second)));
        acknowledged.extend([(id, a.is_ok()), (second, b.is_ok())]);
        // Who is replaced learns it by the next command.
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let (a, b) = tokio::join!(one.define_role(&a), other.define_role(&b));
        roles += usize::from(a.is_ok()) + usize::from(b.is_ok());
        let serving = |owner: &Owner, group: usize| *owner.status[group].borrow() == GroupStatus::Serving;
        let settled = (0..one.status.len()).all(|group| serving(&one, group) != serving(&other, group));
        if settled && number > 20 {
            break;
        }
        assert!(Instant::now() < deadline, "two owners fence each other for ever");
    }
    let all = events(log);
    for (id, done) in acknowledged {
        let count = all
            .iter()
            .filter(|it| it.meta.aggregate_id == id.to_string())
            .count();
        assert_eq!(count, usize::from(done), "{id}");
    }
    assert_eq!(history(log, "catalog").len(), roles);
}

pub async fn what_is_given_up_is_refused_at_once<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let id = owner.registered().await;
    let partitions: Vec<(Stream, i32)> = specs().into_iter().flat_map(|spec| spec.partitions).collect();
    owner.bus.unroute(&partitions);
    assert!(matches!(
        owner.user(id, grant(1)).await,
        Err(BusError::Unavailable)
    ));
    assert!(matches!(
        owner.bus.inspect::<User>(&id.to_string()).await,
        Err(BusError::Unavailable)
    ));
    owner.given_up().await;
    // Accepted commands are finished before a shutdown ends.
    let next = Owner::claim(log).await;
    let accepted: Vec<_> = (0..20)
        .map(|number| {
            let bus = next.bus.clone();
            let context = crate::owner::system();
            tokio::spawn(async move { bus.execute::<User>(&id.to_string(), grant(number), context).await })
        })
        .collect();
    while history(log, &id.to_string()).len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    next.bus.shut_down().await;
    let mut done = 1;
    for task in accepted {
        done += usize::from(task.await.unwrap().is_ok());
    }
    assert_eq!(history(log, &id.to_string()).len(), done);
}

pub async fn a_key_is_stored_with_the_first_event<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let id = UserId::new_v7();
    let receipt = owner
        .user_with(id, register(id), with_data_key(id))
        .await
        .unwrap();
    assert_eq!(receipt.records.len(), 1);
    let found = records(log)
        .into_iter()
        .find(|it| it.key == id.to_string().as_bytes())
        .unwrap();
    assert_eq!(found.offset, receipt.records[0].position.offset);
    assert!(matches!(history(log, &id.to_string())[..], [(1, Event::User(_))]));
}
