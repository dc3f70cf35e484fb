//! Delete a role. Grants that name its id count for nothing from then on.

use schemas::catalog::{CatalogEvent, RoleDeleted};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRole {
    pub name: String,
}

impl Decide<Catalog> for DeleteRole {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let (role_id, role) = catalog.role_by_name(&self.name).ok_or(Error::NoSuchRole)?;
        if role.is_system_role {
            return Err(Error::SystemRole);
        }
        if catalog
            .roles
            .values()
            .any(|other| other.parent_id == Some(role_id))
        {
            return Err(Error::RoleInUse);
        }
        Ok(vec![CatalogEvent::RoleDeleted(RoleDeleted {
            role_id,
            name: self.name,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attach, define_permission, define_role, given, role, with_system_things};

    fn delete(name: &str) -> DeleteRole {
        DeleteRole {
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_role_goes_with_all_it_had() {
        let defined = || {
            given([])
                .and(define_role(1, "a", None))
                .and(define_permission(1, "invoice", "read"))
                .and(attach("a", "invoice:read"))
        };
        let deleted = RoleDeleted {
            role_id: role(1),
            name: "a".to_owned(),
        };
        defined()
            .when(delete("a"))
            .then([CatalogEvent::RoleDeleted(deleted)]);
        let after = defined().and(delete("a"));
        let catalog = after.state();
        assert!(catalog.roles.is_empty() && catalog.role_names.is_empty());
        assert!(catalog.attachments.is_empty());
    }

    #[test]
    fn an_unknown_role_cannot_be_deleted() {
        given([]).when(delete("a")).then_error(Error::NoSuchRole);
    }

    #[test]
    fn a_role_with_others_below_it_stays() {
        let tree = given([])
            .and(define_role(1, "a", None))
            .and(define_role(2, "b", Some("a")));
        tree.when(delete("a")).then_error(Error::RoleInUse);
    }

    #[test]
    fn a_system_role_stays() {
        with_system_things()
            .when(delete("root"))
            .then_error(Error::SystemRole);
    }
}
