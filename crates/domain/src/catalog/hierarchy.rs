//! Levels of the role hierarchy, and why it has no cycle.

use std::collections::BTreeMap;

use schemas::RoleId;
use schemas::catalog::RoleLevel;

use super::{Catalog, Error};

/// Roles on the longest way from a top role down, both ends counted.
pub const MAX_DEPTH: i32 = 32;

/// Level of a role under this parent: the top is 0.
pub(super) fn level_under(catalog: &Catalog, parent_id: Option<RoleId>) -> Result<i32, Error> {
    let level = match parent_id {
        None => 0,
        Some(id) => catalog
            .roles
            .get(&id)
            .ok_or(Error::NoSuchParent)?
            .level
            .saturating_add(1),
    };
    if level < MAX_DEPTH {
        Ok(level)
    } else {
        Err(Error::TooDeep)
    }
}

/// A role must not come to stand below itself.
pub(super) fn check_acyclic(
    catalog: &Catalog,
    role_id: RoleId,
    parent_id: Option<RoleId>,
) -> Result<(), Error> {
    match parent_id {
        Some(parent) if parent == role_id => Err(Error::Cycle),
        Some(parent) if below(catalog, role_id).contains_key(&parent) => Err(Error::Cycle),
        _ => Ok(()),
    }
}

/// The roles below whose level changes when `role_id` comes to stand at `level`.
pub(super) fn moved_below(catalog: &Catalog, role_id: RoleId, level: i32) -> Result<Vec<RoleLevel>, Error> {
    let moved: Vec<RoleLevel> = below(catalog, role_id)
        .into_iter()
        .map(|(id, distance)| RoleLevel {
            role_id: id,
            level: level.saturating_add(distance),
        })
        .filter(|new| {
            catalog
                .roles
                .get(&new.role_id)
                .is_some_and(|old| old.level != new.level)
        })
        .collect();
    if moved.iter().all(|role| role.level < MAX_DEPTH) {
        Ok(moved)
    } else {
        Err(Error::TooDeep)
    }
}

/// The roles below, with their distance from `role_id`.
fn below(catalog: &Catalog, role_id: RoleId) -> BTreeMap<RoleId, i32> {
    let mut children: BTreeMap<RoleId, Vec<RoleId>> = BTreeMap::new();
    for (id, role) in &catalog.roles {
        if let Some(parent) = role.parent_id {
            children.entry(parent).or_default().push(*id);
        }
    }
    let mut found = BTreeMap::new();
    let mut open = vec![(role_id, 0)];
    while let Some((parent, distance)) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            // Each role once, so this ends even on a history that should not exist.
            if found.insert(*child, distance + 1).is_none() {
                open.push((*child, distance + 1));
            }
        }
    }
    found
}
