//! Detach a permission from a role. What it inherits stays.

use schemas::catalog::{CatalogEvent, PermissionDetached};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachPermission {
    /// Names, both.
    pub role: String,
    pub permission: String,
    /// Said by Rolecall itself alone: system roles are its own.
    pub system: bool,
}

impl Decide<Catalog> for DetachPermission {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let (role_id, role) = catalog.role_by_name(&self.role).ok_or(Error::NoSuchRole)?;
        let (permission_id, _) = catalog
            .permission_by_name(&self.permission)
            .ok_or(Error::NoSuchPermission)?;
        if !catalog.is_attached(role_id, permission_id) {
            return Ok(vec![]);
        }
        if role.is_system_role && !self.system {
            return Err(Error::SystemRole);
        }
        Ok(vec![CatalogEvent::PermissionDetached(PermissionDetached {
            role_id,
            permission_id,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::AttachPermission;
    use crate::testing::{
        Given, attach, define_permission, define_role, given, permission, role, with_system_things,
    };

    fn detach(role: &str, permission: &str) -> DetachPermission {
        DetachPermission {
            role: role.to_owned(),
            permission: permission.to_owned(),
            system: false,
        }
    }

    fn attached() -> Given<Catalog> {
        given([])
            .and(define_role(1, "a", None))
            .and(define_permission(1, "invoice", "read"))
            .and(attach("a", "invoice:read"))
    }

    #[test]
    fn a_permission_is_detached_once() {
        let (role_id, permission_id) = (role(1), permission(1));
        let detached = PermissionDetached {
            role_id,
            permission_id,
        };
        let command = detach("a", "invoice:read");
        attached()
            .when(command.clone())
            .then([CatalogEvent::PermissionDetached(detached)]);
        attached().and(command.clone()).when(command).then_nothing();
    }

    #[test]
    fn role_and_permission_must_exist() {
        attached()
            .when(detach("b", "invoice:read"))
            .then_error(Error::NoSuchRole);
        attached()
            .when(detach("a", "invoice:write"))
            .then_error(Error::NoSuchPermission);
    }

    #[test]
    fn what_a_system_role_has_is_up_to_rolecall() {
        let by_rolecall = AttachPermission {
            system: true,
            ..attach("root", "rolecall.own")
        };
        let attached = with_system_things().and(by_rolecall);
        attached
            .when(detach("root", "rolecall.own"))
            .then_error(Error::SystemRole);
    }
}
