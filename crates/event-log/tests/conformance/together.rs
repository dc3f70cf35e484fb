//! Several aggregates in one transaction: all of what was decided is in the log, or nothing.

use std::sync::Arc;

use domain::identifier::{Identifier, IdentifierCommand};
use domain::user::User;
use event_log::{BusError, CommandContext, Failure, MemoryLog, Receipt, Steps, WriterLog};
use futures::future::join_all;
use schemas::user::UserEvent;
use schemas::{BlindIndex, LogId, UserId};

use crate::owner::{
    Owner, chain_is_whole, confirm, events, grant, history, index, keyed, register, reserve, system,
    with_data_key,
};

type Outcome = Option<Result<Receipt<UserEvent>, BusError<domain::user::Error>>>;

/// Names whose ledger has one writer with the user's, or has not.
fn names(owner: &Owner, user: UserId, near: bool, count: usize) -> Vec<BlindIndex> {
    let is_it = |name: &BlindIndex| {
        let names = name.to_hex();
        owner
            .bus
            .have_one_writer::<User, Identifier>(&user.to_string(), &names)
            == near
    };
    let all = (0..).map(|number: i32| index(&format!("{number} of {user}")));
    all.filter(is_it).take(count).collect()
}

fn steps(names: &[BlindIndex], user: UserId) -> Vec<Steps<IdentifierCommand>> {
    let of_name = |name: &BlindIndex| Steps {
        id: name.to_hex(),
        commands: vec![reserve(user), confirm(user)],
    };
    names.iter().map(of_name).collect()
}

async fn register_with(
    owner: &Owner,
    user: UserId,
    names: &[BlindIndex],
    context: CommandContext,
) -> Outcome {
    let steps = steps(names, user);
    owner
        .bus
        .execute_with::<User, Identifier>(steps, &user.to_string(), register(user), context)
        .await
}

pub async fn what_goes_together_is_committed_together<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let users: Vec<UserId> = (0..20).map(|_| UserId::new_v7()).collect();
    let registering = users.iter().map(async |&user| {
        let names = names(&owner, user, true, 2);
        let outcome = register_with(&owner, user, &names, with_data_key(user)).await;
        (names, outcome.unwrap().unwrap())
    });
    for (user, (names, receipt)) in users.iter().zip(join_all(registering).await) {
        assert_eq!((receipt.records.len(), receipt.replayed), (1, false));
        assert_eq!(receipt.last, Some(receipt.records[0].position));
        assert_eq!(history(log, &user.to_string()).len(), 1);
        for name in names {
            assert_eq!(history(log, &name.to_hex()).len(), 2);
            let found = owner.bus.inspect::<Identifier>(&name.to_hex()).await.unwrap();
            assert!(matches!(found.aggregate, Identifier::Held { holder } if holder.user_id == *user));
            assert_eq!(found.sequence, 2);
        }
        // Memory is where the log is.
        let receipt = owner.user(*user, grant(1)).await.unwrap();
        assert_eq!(receipt.records[0].meta.sequence, 2);
    }
}

pub async fn what_cannot_go_together_is_not_done<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let (user, other) = (UserId::new_v7(), UserId::new_v7());
    let (near, apart) = (names(&owner, user, true, 2), names(&owner, user, false, 1));
    let before = events(log).len();
    assert!(register_with(&owner, user, &apart, system()).await.is_none());
    assert!(
        register_with(&owner, user, &[near[0], apart[0]], system())
            .await
            .is_none()
    );
    assert_eq!(events(log).len(), before);
    // A name that somebody has.
    owner.identifier(near[1], reserve(other)).await.unwrap();
    let before = events(log).len();
    assert!(register_with(&owner, user, &near, system()).await.is_none());
    assert_eq!(events(log).len(), before);
    let free = owner.bus.inspect::<Identifier>(&near[0].to_hex()).await.unwrap();
    assert_eq!((free.aggregate, free.sequence), (Identifier::Free, 0));
    // Each alone goes on.
    owner.identifier(near[0], reserve(user)).await.unwrap();
    owner.user(user, register(user)).await.unwrap();
    // Somebody who is there already.
    assert!(register_with(&owner, user, &near[..1], system()).await.is_none());
}

pub async fn a_key_finds_what_was_done_together<L: WriterLog>(log: &Arc<L>) {
    let owner = Owner::claim(log).await;
    let user = UserId::new_v7();
    let names = names(&owner, user, true, 2);
    let context = || keyed("key", "register");
    let first = register_with(&owner, user, &names, context()).await;
    let first = first.unwrap().unwrap();
    assert!(register_with(&owner, user, &names, context()).await.is_none());
    let again = owner.user_with(user, register(user), context()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.records, first.records);
    // Of the names nothing is remembered under it.
    let events = events(log).into_iter();
    assert_eq!(events.filter(|it| it.meta.idempotency.is_some()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_together_is_in_doubt_together() {
    for (failure, is_there) in [(Failure::AfterCommit, true), (Failure::BeforeCommit, false)] {
        let log = Arc::new(MemoryLog::new(LogId::new_v7()));
        let owner = Owner::claim(&log).await;
        let user = UserId::new_v7();
        let names = names(&owner, user, true, 2);
        log.fail_next(&[failure]);
        let outcome = register_with(&owner, user, &names, system()).await;
        assert_eq!(outcome.is_some_and(|it| it.is_ok()), is_there, "{failure:?}");
        let expected = if is_there { (1, 2) } else { (0, 0) };
        for name in &names {
            let found = (history(&log, &user.to_string()), history(&log, &name.to_hex()));
            assert_eq!((found.0.len(), found.1.len()), expected);
        }
        owner.serves().await;
        if !is_there {
            let outcome = register_with(&owner, user, &names, system()).await;
            outcome.unwrap().unwrap();
        }
        chain_is_whole(&log);
    }
}
