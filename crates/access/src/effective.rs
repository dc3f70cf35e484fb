//! What a user's live grants add up to.

use std::collections::BTreeMap;

use ids::Timestamp;

use crate::{CompiledCatalog, CompiledPermission, CompiledRole, Standing, UserAccess};

/// The roles of a user's live grants without limits and all they inherit from; by name. None for an inactive user.
pub fn effective_roles<'a>(
    catalog: &'a CompiledCatalog,
    user: &UserAccess,
    now: Timestamp,
) -> Vec<&'a CompiledRole> {
    let lineages = granted_roles(catalog, user, now).flat_map(|role| catalog.lineage(role));
    let by_name: BTreeMap<_, _> = lineages.map(|role| (role.name.as_str(), role)).collect();
    by_name.into_values().collect()
}

/// The permissions those roles give; by name.
pub fn effective_permissions<'a>(
    catalog: &'a CompiledCatalog,
    user: &UserAccess,
    now: Timestamp,
) -> Vec<&'a CompiledPermission> {
    let mut found = catalog.no_permissions();
    for role in granted_roles(catalog, user, now) {
        found.insert_all(role.permissions());
    }
    catalog.permissions_at(&found).collect()
}

fn granted_roles<'a>(
    catalog: &'a CompiledCatalog,
    user: &UserAccess,
    now: Timestamp,
) -> impl Iterator<Item = &'a CompiledRole> {
    let active = user.standing() == Standing::Active;
    let live = user
        .grants()
        .iter()
        .filter(move |grant| active && grant.is_live(now) && grant.scope().is_none());
    live.filter_map(|grant| catalog.role(grant.role_id))
}
