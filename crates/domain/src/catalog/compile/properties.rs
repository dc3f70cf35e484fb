//! The compiled form answers as the plain reading of roles and parents does.

use std::collections::BTreeSet;
use std::time::Instant;

use access::{
    Decision, Engine, Grant, Query, Reason, Standing, UserAccess, check, effective_permissions,
    effective_roles,
};
use proptest::prelude::*;
use schemas::{PermissionId, RoleId, UserId};
use uuid::Uuid;

use super::*;
use crate::catalog::properties::any_catalog;
use crate::catalog::{Permission, Role};
use crate::testing::{NOW, given, minutes, permission, role};

const ANYBODY: UserId = UserId::from_uuid(Uuid::from_u128(1));

fn compiled(catalog: &Catalog) -> CompiledCatalog {
    catalog.compile(&RoleNumbers::default())
}

/// What a role has, by walking up its parents.
fn naive_permissions(catalog: &Catalog, role_id: RoleId) -> BTreeSet<PermissionId> {
    let mut found = catalog.attachments.get(&role_id).cloned().unwrap_or_default();
    if let Some(parent) = catalog.roles.get(&role_id).and_then(|role| role.parent_id) {
        found.extend(naive_permissions(catalog, parent));
    }
    found
}

fn naive_allows(catalog: &Catalog, role_id: RoleId, resource: &str, action: &str) -> bool {
    naive_permissions(catalog, role_id).iter().any(|id| {
        let permission = &catalog.permissions[id];
        permission.resource == resource && permission.action == action
    })
}

/// Grants name roles of the catalog, and one that is not there.
fn catalog_and_user() -> impl Strategy<Value = (Catalog, UserAccess)> {
    let standing = prop_oneof![
        1 => Just(Standing::Unregistered),
        1 => Just(Standing::Inactive),
        8 => Just(Standing::Active),
    ];
    let expiry = prop_oneof![Just(None), (-1..2_i64).prop_map(|at| Some(minutes(at)))];
    (any_catalog(), standing).prop_flat_map(move |(catalog, standing)| {
        let roles: Vec<_> = catalog.roles.keys().copied().chain([role(u128::MAX)]).collect();
        let grant = (prop::sample::select(roles), expiry.clone());
        let user =
            prop::collection::vec(grant, 0..6).prop_map(move |grants| UserAccess::new(standing, grants));
        (Just(catalog), user)
    })
}

proptest! {
    #[test]
    fn a_check_equals_the_naive_model((catalog, user) in catalog_and_user()) {
        let compiled = compiled(&catalog);
        let engine = Engine::default();
        engine.set_catalog(&catalog.view());
        engine.insert(ANYBODY, 0, &user);
        for resource in ["resource0", "resource1", "resource2", "other"] {
            for action in ["action0", "action1", "other"] {
                let gives = |grant: &&Grant| {
                    naive_allows(&catalog, grant.role_id, resource, action)
                };
                let live = |grant: &&Grant| grant.is_live(NOW);
                let giving: Vec<_> = user.grants().iter().filter(gives).collect();
                let allowed = user.is_active() && giving.iter().any(live);
                let query = Query { resource, id: None, action };
                let decision = check(&compiled, Some(&user), query, NOW);
                prop_assert_eq!(engine.check(ANYBODY, query, NOW), decision);
                prop_assert_eq!(decision.allowed, allowed, "{:?}", decision);
                match decision.reason {
                    Reason::Granted { role_id } => prop_assert!(
                        giving.iter().any(|grant| live(grant) && grant.role_id == role_id)
                    ),
                    Reason::Expired { role_id } => prop_assert!(
                        giving.iter().any(|grant| !live(grant) && grant.role_id == role_id)
                    ),
                    Reason::NoGrant => prop_assert!(giving.is_empty()),
                    Reason::NoSuchPermission => {
                        let mut all = catalog.permissions.values();
                        let exists = all.any(|p| p.resource == resource && p.action == action);
                        prop_assert!(!exists);
                    }
                    Reason::UnknownUser => {
                        prop_assert_eq!(user.standing(), Standing::Unregistered);
                    }
                    Reason::Inactive => prop_assert_eq!(user.standing(), Standing::Inactive),
                    Reason::OutOfScope { .. } => prop_assert!(false, "no grant is limited"),
                    Reason::NotCurrent => prop_assert!(false, "whoever has the events decides"),
                }
            }
        }
    }

    #[test]
    fn effective_permissions_equal_the_naive_model((catalog, user) in catalog_and_user()) {
        let compiled = compiled(&catalog);
        let live = user.grants().iter().filter(|grant| user.is_active() && grant.is_live(NOW));
        let roles: BTreeSet<_> = live.map(|grant| grant.role_id).collect();
        let expected: BTreeSet<_> =
            roles.iter().flat_map(|role| naive_permissions(&catalog, *role)).collect();
        let found = effective_permissions(&compiled, &user, NOW);
        let names: Vec<_> = found.iter().map(|permission| &permission.name).collect();
        prop_assert!(names.is_sorted());
        prop_assert_eq!(found.iter().map(|found| found.id).collect::<BTreeSet<_>>(), expected);
        let effective = effective_roles(&compiled, &user, NOW);
        for role in &effective {
            prop_assert!(compiled.lineage(role).all(|above| effective.contains(&above)));
        }
        for role in roles.iter().filter_map(|id| compiled.role(*id)) {
            prop_assert!(effective.contains(&role));
        }
    }
}

#[test]
fn an_unheard_of_user_is_unknown() {
    let catalog = compiled(given::<Catalog>([]).state());
    let query = Query {
        resource: "invoice",
        id: None,
        action: "read",
    };
    let decision = check(&catalog, None, query, NOW);
    assert_eq!(
        decision,
        Decision {
            allowed: false,
            reason: Reason::UnknownUser
        }
    );
}

/// 1,000 roles in chains of 20, and 5,000 permissions, each attached to one role.
fn large_catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for number in 0..5_000_u128 {
        let name = format!("p{number}");
        catalog.permission_names.insert(name.clone(), permission(number));
        catalog.permissions.insert(
            permission(number),
            Permission {
                name,
                resource: format!("resource{}", number / 10),
                action: format!("action{}", number % 10),
                description: None,
                category: None,
                is_dangerous: false,
            },
        );
        let own = catalog.attachments.entry(role(number % 1_000)).or_default();
        own.insert(permission(number));
    }
    for number in 0..1_000_u128 {
        let name = format!("r{number}");
        catalog.role_names.insert(name.clone(), role(number));
        catalog.roles.insert(
            role(number),
            Role {
                name,
                description: None,
                parent_id: (number % 20 != 0).then(|| role(number - 1)),
                level: i32::try_from(number % 20).unwrap(),
                is_system_role: false,
            },
        );
    }
    catalog
}

#[test]
fn a_large_catalog_compiles_and_answers() {
    let start = Instant::now();
    let catalog = compiled(&large_catalog());
    let lowest = catalog.role_by_name("r999").unwrap();
    assert_eq!(catalog.permissions_of(lowest).count(), 100);
    assert_eq!(catalog.lineage(lowest).count(), 20);
    let user = UserAccess::new(Standing::Active, [(role(999), None)]);
    let allowed = |resource, action| {
        check(
            &catalog,
            Some(&user),
            Query {
                resource,
                id: None,
                action,
            },
            NOW,
        )
        .allowed
    };
    // Permission 980 belongs to the top of the chain.
    assert!(allowed("resource98", "action0"));
    assert!(!allowed("resource97", "action9"));
    println!("compiled and asked in {:?}", start.elapsed());
}
