//! Deciding: the one place that says what "allowed" is.

use std::sync::Arc;

use ids::{GrantScope, RoleId, Timestamp};

use crate::user_access::{Standing, UserAccess};
use crate::{CompiledCatalog, Decision, Query, Reason};

/// A grant as a check sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held<'a> {
    /// Number of the role.
    pub(crate) role: u32,
    /// Microseconds, exclusive.
    pub(crate) until: i64,
    /// `None`: for all resources.
    pub(crate) scope: Option<&'a Arc<GrantScope>>,
}

/// A user as a check sees them. The grants are in the order of their roles' ids.
pub(crate) struct Holder<'a, Grants> {
    pub(crate) standing: Standing,
    pub(crate) grants: Grants,
    /// Only grants of these count.
    pub(crate) within: Option<&'a [RoleId]>,
}

/// Whether `user` (`None`: never heard of) may do what is asked at `now`. Looks up each grant's role; the
/// [`Engine`](crate::Engine) need not.
pub fn check(
    catalog: &CompiledCatalog,
    user: Option<&UserAccess>,
    query: Query<'_>,
    now: Timestamp,
) -> Decision {
    let grants = user.map(UserAccess::grants).unwrap_or_default().iter();
    let holder = Holder {
        standing: user.map(UserAccess::standing).unwrap_or_default(),
        grants: grants.map(|grant| grant.held(catalog.number(grant.role_id))),
        within: None,
    };
    decide(catalog, holder, query, now).into()
}

/// Looks at every grant, whatever the ones before said: a denial costs what an allowance does.
pub(crate) fn decide<'a>(
    catalog: &CompiledCatalog,
    user: Holder<'_, impl DoubleEndedIterator<Item = Held<'a>>>,
    query: Query<'_>,
    now: Timestamp,
) -> Reason {
    let action = catalog.action(query.resource, query.action);
    match user.standing {
        Standing::Unregistered => return Reason::UnknownUser,
        Standing::Inactive => return Reason::Inactive,
        Standing::Active => {}
    }
    let Some(action) = action else {
        return Reason::NoSuchPermission;
    };
    let givers = catalog.givers(action);
    let (mut live, mut expired, mut elsewhere) = (None, None, None);
    // From the last to the first, so that of several the first one stays.
    for grant in user.grants.rev() {
        // A deleted role is not in the catalog, and its id never comes back.
        let gives = givers.contains(grant.role) && is_within(user.within, catalog, grant.role);
        let is_here = grant
            .scope
            .is_none_or(|scope| scope.covers(query.resource, query.id));
        let is_live = now.as_micros() < grant.until;
        let found = if gives { Some(grant.role) } else { None };
        match (is_here, is_live) {
            (true, true) => live = found.or(live),
            (true, false) => expired = found.or(expired),
            (false, true) => elsewhere = found.or(elsewhere),
            (false, false) => {}
        }
    }
    let id = |number: Option<u32>| catalog.numbered(number?);
    match (id(live), id(expired), id(elsewhere)) {
        (Some(role_id), _, _) => Reason::Granted { role_id },
        (None, Some(role_id), _) => Reason::Expired { role_id },
        (None, None, Some(role_id)) => Reason::OutOfScope { role_id },
        (None, None, None) => Reason::NoGrant,
    }
}

fn is_within(roles: Option<&[RoleId]>, catalog: &CompiledCatalog, number: u32) -> bool {
    roles.is_none_or(|roles| catalog.numbered(number).is_some_and(|id| roles.contains(&id)))
}
