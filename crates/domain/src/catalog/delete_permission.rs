//! Delete a permission; every role loses it.

use schemas::catalog::{CatalogEvent, PermissionDeleted};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};
use crate::rolecall_permissions::is_reserved;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePermission {
    pub name: String,
}

impl Decide<Catalog> for DeletePermission {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let (permission_id, permission) = catalog
            .permission_by_name(&self.name)
            .ok_or(Error::NoSuchPermission)?;
        if is_reserved(&permission.name, &permission.resource) {
            return Err(Error::SystemPermission);
        }
        let name = self.name;
        Ok(vec![CatalogEvent::PermissionDeleted(PermissionDeleted {
            permission_id,
            name,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        attach, define_permission, define_role, given, permission, role, with_system_things,
    };

    fn delete(name: &str) -> DeletePermission {
        DeletePermission {
            name: name.to_owned(),
        }
    }

    #[test]
    fn every_role_loses_a_deleted_permission() {
        let defined = || {
            given([])
                .and(define_role(1, "a", None))
                .and(define_permission(1, "invoice", "read"))
                .and(attach("a", "invoice:read"))
        };
        let deleted = PermissionDeleted {
            permission_id: permission(1),
            name: "invoice:read".to_owned(),
        };
        defined()
            .when(delete("invoice:read"))
            .then([CatalogEvent::PermissionDeleted(deleted)]);
        let after = defined().and(delete("invoice:read"));
        assert!(!after.state().is_attached(role(1), permission(1)));
        assert!(after.state().permissions.is_empty());
    }

    #[test]
    fn an_unknown_permission_cannot_be_deleted() {
        given([])
            .when(delete("invoice:read"))
            .then_error(Error::NoSuchPermission);
    }

    #[test]
    fn rolecalls_own_permissions_stay() {
        with_system_things()
            .when(delete("rolecall.own"))
            .then_error(Error::SystemPermission);
    }
}
