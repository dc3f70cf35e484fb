//! Many commands at once.

use std::sync::Arc;

use domain::identifier::{self, Identifier, IdentifierCommand};
use domain::user::{self, User, UserCommand};
use event_log::{BusError, Order, WriterLog};
use futures::future::join_all;
use schemas::{BlindIndex, Event, UserId};

use crate::owner::{
    Owner, confirm, events, grant, history, index, is_not_done, register, release, reserve, revoke, system,
    with_data_key,
};

pub fn orders(users: &[UserId], command: impl Fn(UserId) -> UserCommand) -> Vec<Order<UserCommand>> {
    let order = |id: &UserId| Order {
        id: id.to_string(),
        command: command(*id),
        new_data_key: None,
    };
    users.iter().map(order).collect()
}

fn to_name(index: BlindIndex, command: IdentifierCommand) -> Order<IdentifierCommand> {
    Order {
        id: index.to_hex(),
        command,
        new_data_key: None,
    }
}

pub async fn many_commands_come_to_what_each_would<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let users: Vec<UserId> = (0..700).map(|_| UserId::new_v7()).collect();
    let with_key = |id: &UserId| Order {
        new_data_key: with_data_key(*id).new_data_key,
        ..orders(&[*id], register).remove(0)
    };
    let sent = users.iter().map(with_key).collect();
    let done = owner.bus.execute_all::<User>(sent, &system()).await;
    for (id, done) in users.iter().zip(&done) {
        let done = done.as_ref().unwrap();
        let found = owner.bus.inspect::<User>(&id.to_string()).await.unwrap();
        assert!(done.is_new && done.last.is_some());
        assert_eq!((found.sequence, found.last), (1, done.last));
        assert!(found.aggregate.account.is_some());
    }

    // Some are new, some change nothing, some are refused; two are to one user.
    let (unknown, first) = (UserId::new_v7(), users[0]);
    owner.user(users[1], grant(7)).await.unwrap();
    let mut sent = orders(&[first, unknown, users[1]], |_| grant(7));
    sent.extend(orders(&[first], |_| grant(8)));
    sent.extend(orders(&[users[2]], |_| revoke(7)));
    let done = owner.bus.execute_all::<User>(sent, &system()).await;
    let is_new: Vec<_> = done
        .iter()
        .map(|it| it.as_ref().ok().map(|it| it.is_new))
        .collect();
    assert_eq!(is_new, [Some(true), None, Some(false), Some(true), Some(false)]);
    assert!(matches!(done[1], Err(BusError::Refused(user::Error::NotFound))));
    assert_eq!(history(log, &first.to_string()).len(), 3);
    assert_eq!(history(log, &users[1].to_string()).len(), 2);
    assert!(history(log, &unknown.to_string()).is_empty());

    // What was decided together is what the next command is decided on.
    let (mail, name) = (index("m@example.org"), index("m"));
    let sent = vec![to_name(mail, reserve(first)), to_name(name, reserve(first))];
    let done = owner.bus.execute_all::<Identifier>(sent, &system()).await;
    assert!(done.iter().all(Result::is_ok));
    let sent = vec![to_name(mail, confirm(first)), to_name(name, release(first))];
    let done = owner.bus.execute_all::<Identifier>(sent, &system()).await;
    assert!(done.iter().all(Result::is_ok));
    let other = UserId::new_v7();
    let sent = vec![to_name(mail, reserve(other)), to_name(name, reserve(other))];
    let done = owner.bus.execute_all::<Identifier>(sent, &system()).await;
    assert!(matches!(
        done[0],
        Err(BusError::Refused(identifier::Error::Taken))
    ));
    assert!(done[1].is_ok());
    assert!(
        owner
            .bus
            .execute_all::<User>(Vec::new(), &system())
            .await
            .is_empty()
    );
    owner.bus.shut_down().await;
    owner.given_up().await;
    // And the next owner reads it back.
    let next = Owner::claim(log).await;
    let found = next.bus.inspect::<User>(&users[699].to_string()).await.unwrap();
    assert_eq!(found.sequence, 1);
}

pub async fn a_replaced_owner_says_yes_to_none_of_many<L: WriterLog>(log: &Arc<L>) {
    let first = Owner::claim(log).await;
    let users = join_all((0..8).map(|_| first.registered())).await;
    let granted = first.registered().await;
    first.user(granted, grant(1)).await.unwrap();
    let second = Owner::claim(log).await;
    second.user(granted, revoke(1)).await.unwrap();
    let mut sent = orders(&users, |_| grant(1));
    // Refused, granted already: not true any more either.
    sent.extend(orders(&[granted], |_| grant(1)));
    sent.extend(orders(&[UserId::new_v7()], |_| grant(1)));
    let done = first.bus.execute_all::<User>(sent, &system()).await;
    for outcome in &done {
        assert!(outcome.as_ref().is_err_and(is_not_done), "{outcome:?}");
    }
    for id in &users {
        assert_eq!(history(log, &id.to_string()).len(), 1);
    }
}

pub async fn single_commands_and_many_share_the_writer<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let users: Vec<UserId> = (0..2_000).map(|_| UserId::new_v7()).collect();
    let context = system();
    let many = owner.bus.execute_all::<User>(orders(&users, register), &context);
    let others = join_all((0..200).map(|_| owner.registered()));
    // Some of them are the same users: both ways come to one event each.
    let same = join_all(users[..50].iter().map(|id| owner.user(*id, register(*id))));
    let again = owner
        .bus
        .execute_all::<User>(orders(&users[..500], register), &context);
    let (many, others, same, again) = tokio::join!(many, others, same, again);
    assert_eq!(others.len(), 200);
    assert!(many.iter().chain(&again).all(Result::is_ok));
    assert!(same.iter().all(Result::is_ok));
    let registered = events(log)
        .into_iter()
        .filter(|it| matches!(it.data, Event::User(_)));
    assert_eq!(registered.count(), 2_200);
}
