//! Whoever asks while somebody tells sees moments that were.

use std::sync::atomic::{AtomicBool, Ordering};

use access::{CatalogView, Change, Engine, PermissionView, Query, RoleView};
use ids::{PermissionId, RoleId, Timestamp, UserId};

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

/// The role has the permission only while nobody has the role: no order of what was told allows anybody.
#[test]
fn a_grant_never_meets_the_catalog_before_it() {
    let (engine, told) = (Engine::default(), AtomicBool::new(false));
    let (role_id, read) = (RoleId::new_v7(), PermissionId::new_v7());
    let catalog = |attached: bool| CatalogView {
        permissions: vec![PermissionView {
            id: read,
            name: "invoice.read",
            resource: "invoice",
            action: "read",
            is_dangerous: false,
        }],
        roles: vec![RoleView {
            id: role_id,
            name: "reader",
            parent: None,
            level: 0,
            is_system_role: false,
            permissions: if attached { vec![read] } else { Vec::new() },
        }],
        dangerous: Vec::new(),
    };
    let users: Vec<_> = (0..200).map(|_| UserId::new_v7()).collect();
    let tell = |change: Change| {
        for user in &users {
            engine.apply(*user, 0, Some(&change), NOW);
        }
    };
    let query = Query {
        resource: "invoice",
        id: None,
        action: "read",
    };
    tell(Change::Activated);
    engine.set_catalog(&catalog(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let all_told = told.load(Ordering::Relaxed);
                let allowed = users
                    .iter()
                    .filter(|user| engine.check(**user, query, NOW).allowed);
                assert_eq!(allowed.count(), 0);
                if all_told {
                    break;
                }
            }
        });
        for _ in 0..300 {
            engine.set_catalog(&catalog(true));
            engine.set_catalog(&catalog(false));
            let expires_at = None;
            tell(Change::Granted {
                role_id,
                expires_at,
                scope: None,
            });
            tell(Change::Revoked { role_id, scope: None });
        }
        told.store(true, Ordering::Relaxed);
    });
    // It would be seen.
    engine.set_catalog(&catalog(true));
    tell(Change::Granted {
        role_id,
        expires_at: None,
        scope: None,
    });
    assert!(users.iter().all(|user| engine.check(*user, query, NOW).allowed));
}
