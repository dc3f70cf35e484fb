//! The access model: who may do what, decided from folded events alone. Services ask it about now,
//! replay about any moment of the past, an investigator about a role model that never was.

mod bits;
mod compiled;
mod effective;
mod user_access;

#[cfg(test)]
mod properties;

use schemas::{RoleId, Timestamp};
use serde::{Deserialize, Serialize};

pub use compiled::{ActionIndex, CompiledCatalog, CompiledPermission, CompiledRole};
pub use effective::{effective_permissions, effective_roles};
pub use user_access::{Grant, Standing, UserAccess};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By a grant of this role, itself or by what it inherits.
    Granted {
        role_id: RoleId,
    },
    UnknownUser,
    Inactive,
    /// No living permission has this resource and action: nobody is allowed.
    NoSuchPermission,
    /// A grant of this role would have allowed it until it expired.
    Expired {
        role_id: RoleId,
    },
    NoGrant,
    /// Not decided: the node lacks events of the user that others rest on already.
    NotCurrent,
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self {
            allowed: matches!(reason, Reason::Granted { .. }),
            reason,
        }
    }
}

/// Whether `user` (`None`: never heard of) may do `action` on `resource` at `now`.
pub fn check(
    catalog: &CompiledCatalog,
    user: Option<&UserAccess>,
    resource: &str,
    action: &str,
    now: Timestamp,
) -> Decision {
    reason(catalog, user, resource, action, now).into()
}

fn reason(
    catalog: &CompiledCatalog,
    user: Option<&UserAccess>,
    resource: &str,
    action: &str,
    now: Timestamp,
) -> Reason {
    let Some(user) = user else {
        return Reason::UnknownUser;
    };
    match user.standing() {
        Standing::Unregistered => return Reason::UnknownUser,
        Standing::Inactive => return Reason::Inactive,
        Standing::Active => {}
    }
    let Some(action) = catalog.action(resource, action) else {
        return Reason::NoSuchPermission;
    };
    let mut expired = None;
    for grant in user.grants() {
        // A deleted role is not in the catalog, and its id never comes back.
        if catalog
            .role(grant.role_id)
            .is_some_and(|role| role.allows(action))
        {
            if grant.is_live(now) {
                return Reason::Granted {
                    role_id: grant.role_id,
                };
            }
            expired.get_or_insert(grant.role_id);
        }
    }
    expired.map_or(Reason::NoGrant, |role_id| Reason::Expired { role_id })
}
