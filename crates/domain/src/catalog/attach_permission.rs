//! Attach a permission to a role; the roles below inherit it.

use schemas::catalog::{CatalogEvent, PermissionAttached};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPermission {
    /// Names, both.
    pub role: String,
    pub permission: String,
    /// Said by Rolecall itself alone: system roles are its own.
    pub system: bool,
}

impl Decide<Catalog> for AttachPermission {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let (role_id, role) = catalog.role_by_name(&self.role).ok_or(Error::NoSuchRole)?;
        let (permission_id, _) = catalog
            .permission_by_name(&self.permission)
            .ok_or(Error::NoSuchPermission)?;
        if catalog.is_attached(role_id, permission_id) {
            return Ok(vec![]);
        }
        if role.is_system_role && !self.system {
            return Err(Error::SystemRole);
        }
        Ok(vec![CatalogEvent::PermissionAttached(PermissionAttached {
            role_id,
            permission_id,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, attach, define_permission, define_role, given, permission, role, with_system_things,
    };

    fn defined() -> Given<Catalog> {
        given([])
            .and(define_role(1, "a", None))
            .and(define_permission(1, "invoice", "read"))
    }

    #[test]
    fn a_permission_is_attached_once() {
        let (role_id, permission_id) = (role(1), permission(1));
        let attached = PermissionAttached {
            role_id,
            permission_id,
        };
        let command = attach("a", "invoice:read");
        defined()
            .when(command.clone())
            .then([CatalogEvent::PermissionAttached(attached)]);
        defined().and(command.clone()).when(command).then_nothing();
    }

    #[test]
    fn role_and_permission_must_exist() {
        defined()
            .when(attach("b", "invoice:read"))
            .then_error(Error::NoSuchRole);
        defined()
            .when(attach("a", "invoice:write"))
            .then_error(Error::NoSuchPermission);
    }

    #[test]
    fn what_a_system_role_has_is_up_to_rolecall() {
        let command = attach("root", "rolecall.own");
        with_system_things()
            .when(command.clone())
            .then_error(Error::SystemRole);
        let (role_id, permission_id) = (role(900), permission(901));
        let attached = PermissionAttached {
            role_id,
            permission_id,
        };
        let by_rolecall = AttachPermission {
            system: true,
            ..command
        };
        with_system_things()
            .when(by_rolecall)
            .then([CatalogEvent::PermissionAttached(attached)]);
    }

    #[test]
    fn an_ordinary_role_may_have_rolecalls_permissions() {
        let (role_id, permission_id) = (role(1), permission(901));
        let attached = PermissionAttached {
            role_id,
            permission_id,
        };
        let catalog = with_system_things().and(define_role(1, "a", None));
        let command = attach("a", "rolecall.own");
        catalog
            .when(command)
            .then([CatalogEvent::PermissionAttached(attached)]);
    }
}
