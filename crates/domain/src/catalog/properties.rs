//! What holds for every catalog that decisions can make.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::testing::{NOW, define_role, minutes, permission, user};

fn name(number: u128) -> String {
    format!("r{number}")
}

/// Names from a small range, so that commands meet each other.
pub(crate) fn any_command() -> impl Strategy<Value = CatalogCommand> {
    let text = |range: std::ops::Range<u128>, prefix: &'static str| {
        range.prop_map(move |number| format!("{prefix}{number}"))
    };
    let role = || 0..12_u128;
    let parent = prop_oneof![1 => Just(None), 3 => role().prop_map(|n| Some(name(n)))];
    let pair = (0..8_u128, text(0..3, "resource"), text(0..2, "action"));
    let attachment = || (role().prop_map(name), text(0..8, "p"));
    prop_oneof![
        4 => (role(), any::<u128>(), parent).prop_map(|(n, id, parent)| {
            CatalogCommand::DefineRole(define_role(id, &name(n), parent.as_deref()))
        }),
        1 => role().prop_map(|n| CatalogCommand::DeleteRole(DeleteRole { name: name(n) })),
        3 => (any::<u128>(), pair, any::<bool>()).prop_map(|(id, (n, resource, action), is_dangerous)| {
            CatalogCommand::DefinePermission(DefinePermission {
                permission_id: permission(id),
                name: format!("p{n}"),
                resource,
                action,
                description: None,
                category: None,
                is_dangerous,
                system: false,
            })
        }),
        1 => text(0..8, "p")
            .prop_map(|name| CatalogCommand::DeletePermission(DeletePermission { name })),
        4 => attachment().prop_map(|(role, permission)| {
            CatalogCommand::AttachPermission(AttachPermission { role, permission, system: false })
        }),
        1 => attachment().prop_map(|(role, permission)| {
            CatalogCommand::DetachPermission(DetachPermission { role, permission, system: false })
        }),
    ]
}

/// As one person says it, with nobody to approve.
fn proposed(command: CatalogCommand) -> CatalogCommand {
    let proposal = match command {
        CatalogCommand::DefineRole(command) => Proposal::DefineRole(command),
        CatalogCommand::DefinePermission(command) => Proposal::DefinePermission(command),
        CatalogCommand::AttachPermission(command) => Proposal::AttachPermission(command),
        other => return other,
    };
    CatalogCommand::Propose(Box::new(Propose {
        approval_id: schemas::ApprovalId::new_v7(),
        requested_by: user(1),
        expires_at: minutes(60),
        proposal,
    }))
}

/// The catalog after those of the commands that succeed.
pub(crate) fn any_catalog() -> impl Strategy<Value = Catalog> {
    prop::collection::vec(any_command(), 0..120).prop_map(|commands| {
        let mut catalog = Catalog::default();
        for command in commands {
            for event in command
                .decide(&catalog, &Context { now: NOW })
                .unwrap_or_default()
            {
                catalog.apply(&event);
            }
        }
        catalog
    })
}

proptest! {
    #[test]
    fn no_cycle_can_be_defined_and_levels_are_right(catalog in any_catalog()) {
        for (id, role) in &catalog.roles {
            let mut seen = BTreeSet::from([*id]);
            let mut above = role.parent_id;
            while let Some(parent) = above {
                prop_assert!(seen.insert(parent), "{} stands below itself", role.name);
                above = catalog.roles[&parent].parent_id;
            }
            prop_assert_eq!(usize::try_from(role.level), Ok(seen.len() - 1));
        }
    }

    #[test]
    fn one_person_alone_gives_nobody_danger(commands in prop::collection::vec(any_command(), 0..120)) {
        let mut catalog = Catalog::default();
        for command in commands {
            let before = catalog.clone();
            let events = proposed(command).decide(&catalog, &Context { now: NOW });
            events.unwrap_or_default().iter().for_each(|event| catalog.apply(event));
            prop_assert!(before.dangerous.is_subset(&catalog.dangerous));
            for id in catalog.roles.keys() {
                let had = before.dangers_of(Some(*id));
                let has = catalog.dangers_of(Some(*id));
                let new: Vec<_> = has.difference(&had).filter(|deed| before.dangerous.contains(*deed)).collect();
                prop_assert!(new.is_empty(), "{:?} came to give {:?}", catalog.roles[id], new);
            }
        }
    }

    #[test]
    fn names_and_ids_agree(catalog in any_catalog()) {
        let names: BTreeSet<_> = catalog.roles.iter().map(|(id, role)| (&role.name, id)).collect();
        prop_assert_eq!(names, catalog.role_names.iter().collect::<BTreeSet<_>>());
        let names = catalog.permissions.iter().map(|(id, found)| (&found.name, id));
        let names: BTreeSet<_> = names.collect();
        prop_assert_eq!(names, catalog.permission_names.iter().collect::<BTreeSet<_>>());
        for (role, own) in &catalog.attachments {
            prop_assert!(catalog.roles.contains_key(role));
            prop_assert!(own.iter().all(|id| catalog.permissions.contains_key(id)));
        }
    }

    #[test]
    fn a_snapshot_is_the_same_catalog(catalog in any_catalog()) {
        let snapshot = serde_json::to_string(&catalog).unwrap();
        prop_assert_eq!(serde_json::from_str::<Catalog>(&snapshot).unwrap(), catalog);
    }
}
