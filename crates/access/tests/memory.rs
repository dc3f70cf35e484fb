//! What a user takes, and what a check takes.

mod counting;

use std::sync::Arc;

use access::{CatalogView, Change, Engine, Grant, PermissionView, Query, RoleView, Standing, UserAccess};
use counting::Counting;
use ids::{GrantScope, PermissionId, RoleId, Timestamp, UserId};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);
const LATER: Timestamp = Timestamp::from_micros(2_000_000);

fn access(roles: &[RoleId], expires_at: Option<Timestamp>) -> UserAccess {
    UserAccess::new(Standing::Active, roles.iter().map(|role| (*role, expires_at)))
}

/// In one test, since every other thread allocates too.
#[test]
fn a_user_takes_a_hundred_bytes_at_most_and_a_check_nothing() {
    let roles: Vec<_> = (0..1_000).map(|_| RoleId::new_v7()).collect();
    let engine = Engine::default();
    let read = PermissionId::new_v7();
    let permission = PermissionView {
        id: read,
        name: "invoice.read",
        resource: "invoice",
        action: "read",
        is_dangerous: false,
    };
    let role = |id: &RoleId| RoleView {
        id: *id,
        name: "",
        parent: None,
        level: 0,
        is_system_role: false,
        permissions: if *id == roles[0] { vec![read] } else { Vec::new() },
    };
    engine.set_catalog(&CatalogView {
        permissions: vec![permission],
        roles: roles.iter().map(role).collect(),
        dangerous: Vec::new(),
    });

    let users: Vec<_> = (0..100_000).map(|_| UserId::new_v7()).collect();
    let before = Counting::bytes();
    // As full and as empty as the table becomes on its way to so many.
    let mut most = 0;
    for (number, user) in users.iter().enumerate() {
        let three: Vec<_> = (0..3).map(|n| roles[(number * 7 + n * 333) % 1_000]).collect();
        engine.insert(*user, 0, &access(&three, None));
        drop(three);
        if number >= 10_000 {
            most = most.max((Counting::bytes() - before) / isize::try_from(number + 1).unwrap());
        }
    }
    let mean = (Counting::bytes() - before) / 100_000;
    println!("{mean} bytes a user at 100,000, {most} at most from 10,000 on");
    assert!((32..=100).contains(&mean) && most <= 100, "{mean}, {most}");

    let (expiring, limited, keyed) = (UserId::new_v7(), UserId::new_v7(), UserId::new_v7());
    engine.insert(expiring, 0, &access(&roles[..9], Some(LATER)));
    let scope = |id: usize| GrantScope {
        resource: "invoice".to_owned(),
        id: Some(id.to_string()),
        is_prefix: false,
    };
    let scoped = (0..9).map(|id| Grant::new(roles[0], None, Some(Arc::new(scope(id)))));
    engine.insert(limited, 0, &UserAccess::new(Standing::Active, scoped));
    engine.apply(keyed, 0, Some(&Change::Activated), NOW);
    let queries = [("invoice", "read"), ("invoice", "write")];
    let queries = queries.map(|(resource, action)| Query {
        resource,
        id: Some("7"),
        action,
    });
    // Whatever a thread needs once.
    assert!(engine.check(users[0], queries[0], NOW).allowed);
    let before = Counting::allocations();
    let mut allowed = 0;
    for user in
        users
            .iter()
            .take(1_000)
            .chain([&expiring, &limited, &keyed, &UserId::from_uuid(uuid::Uuid::nil())])
    {
        for query in queries {
            allowed += usize::from(engine.check(*user, query, NOW).allowed);
            engine.ask(*user).check_within(&roles[..1], query, LATER);
        }
    }
    assert!(allowed > 1);
    assert_eq!(Counting::allocations() - before, 0);
}
