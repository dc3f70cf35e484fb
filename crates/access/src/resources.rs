//! Which resources a user may do something with.

use std::collections::BTreeSet;

use ids::{GrantScope, Timestamp};

use crate::{CompiledCatalog, UserAccess};

/// What of a type a user may do something with. Whatever is none of these is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources<'a> {
    /// Every resource of the type.
    pub all: bool,
    pub ids: BTreeSet<&'a str>,
    /// All resources whose ids begin so.
    pub prefixes: BTreeSet<&'a str>,
}

/// With which resources of the type `user` may do the action at `now`: with those that [`check`](crate::check) allows.
pub fn resources<'a>(
    catalog: &CompiledCatalog,
    user: &'a UserAccess,
    resource: &str,
    action: &str,
    now: Timestamp,
) -> Resources<'a> {
    let mut found = Resources::default();
    let Some(action) = catalog.action(resource, action).filter(|_| user.is_active()) else {
        return found;
    };
    let gives = |role| {
        catalog
            .role(role)
            .is_some_and(|role| catalog.allows(role, action))
    };
    let live = user.grants().iter().filter(|grant| grant.is_live(now));
    for grant in live.filter(|grant| gives(grant.role_id)) {
        let Some(scope) = grant.scope() else {
            found.all = true;
            continue;
        };
        match scope {
            GrantScope { resource: of, .. } if of != resource => {}
            GrantScope { id: None, .. } => found.all = true,
            GrantScope {
                id: Some(id),
                is_prefix,
                ..
            } => {
                let ids = if *is_prefix {
                    &mut found.prefixes
                } else {
                    &mut found.ids
                };
                ids.insert(id);
            }
        }
    }
    found
}
