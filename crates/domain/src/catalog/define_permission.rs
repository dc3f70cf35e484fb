//! Define a permission, or change the one that has the name.

use schemas::PermissionId;
use schemas::catalog::{CatalogEvent, PermissionDefined};
use serde::{Deserialize, Serialize};

use super::text::{check_description, check_name};
use super::{Catalog, Error, Permission};
use crate::decider::{Context, Decide};
use crate::rolecall_permissions::is_reserved;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinePermission {
    /// Used only if no permission has the name.
    pub permission_id: PermissionId,
    pub name: String,
    /// Several permissions may give the same action on the same resource.
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: bool,
    /// Said by Rolecall itself alone.
    pub system: bool,
}

impl Decide<Catalog> for DefinePermission {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        for name in [&self.name, &self.resource, &self.action]
            .into_iter()
            .chain(&self.category)
        {
            check_name(name)?;
        }
        check_description(self.description.as_deref())?;
        let existing = catalog.permission_by_name(&self.name);
        let reserved = is_reserved(&self.name, &self.resource)
            || existing.is_some_and(|(_, old)| is_reserved(&old.name, &old.resource));
        if reserved && !self.system {
            return Err(Error::SystemPermission);
        }
        let permission_id = match existing {
            Some((_, old)) if *old == self.permission() => return Ok(vec![]),
            Some((id, _)) => id,
            None if catalog.permissions.contains_key(&self.permission_id) => {
                return Err(Error::IdInUse);
            }
            None => self.permission_id,
        };
        Ok(vec![CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id,
            name: self.name,
            resource: self.resource,
            action: self.action,
            description: self.description,
            category: self.category,
            is_dangerous: self.is_dangerous,
        })])
    }
}

impl DefinePermission {
    fn permission(&self) -> Permission {
        Permission {
            name: self.name.clone(),
            resource: self.resource.clone(),
            action: self.action.clone(),
            description: self.description.clone(),
            category: self.category.clone(),
            is_dangerous: self.is_dangerous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, define_permission, given, permission, with_system_things};

    fn event(number: u128, command: DefinePermission) -> CatalogEvent {
        CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id: permission(number),
            name: command.name,
            resource: command.resource,
            action: command.action,
            description: command.description,
            category: command.category,
            is_dangerous: command.is_dangerous,
        })
    }

    fn defined() -> Given<Catalog> {
        given([]).and(define_permission(1, "invoice", "read"))
    }

    #[test]
    fn a_permission_is_defined() {
        let command = define_permission(1, "invoice", "read");
        given([]).when(command.clone()).then([event(1, command)]);
    }

    #[test]
    fn a_changed_permission_keeps_its_id_and_the_same_one_records_nothing() {
        let changed = DefinePermission {
            is_dangerous: true,
            ..define_permission(9, "invoice", "read")
        };
        defined().when(changed.clone()).then([event(1, changed)]);
        defined()
            .when(define_permission(9, "invoice", "read"))
            .then_nothing();
    }

    #[test]
    fn two_permissions_may_give_the_same_action() {
        let command = DefinePermission {
            name: "see-invoices".to_owned(),
            ..define_permission(2, "invoice", "read")
        };
        defined().when(command.clone()).then([event(2, command)]);
    }

    #[test]
    fn every_text_is_checked() {
        let good = || define_permission(2, "invoice", "write");
        let bad = || "a b".to_owned();
        for command in [
            DefinePermission {
                name: bad(),
                ..good()
            },
            DefinePermission {
                resource: bad(),
                ..good()
            },
            DefinePermission {
                action: bad(),
                ..good()
            },
            DefinePermission {
                category: Some(bad()),
                ..good()
            },
        ] {
            defined().when(command).then_error(Error::InvalidName);
        }
        let command = DefinePermission {
            description: Some("\0".to_owned()),
            ..good()
        };
        defined().when(command).then_error(Error::InvalidDescription);
    }

    #[test]
    fn an_id_names_one_permission() {
        let command = define_permission(1, "invoice", "write");
        defined().when(command).then_error(Error::IdInUse);
    }

    #[test]
    fn what_is_rolecalls_own_is_defined_by_rolecall_alone() {
        let of_the_resource = define_permission(2, "rolecall", "user_read");
        let of_the_name = DefinePermission {
            name: "rolecall.later".to_owned(),
            ..define_permission(2, "invoice", "write")
        };
        let renamed_away = DefinePermission {
            name: "rolecall.own".to_owned(),
            ..define_permission(2, "invoice", "write")
        };
        for command in [of_the_resource, of_the_name, renamed_away] {
            with_system_things()
                .when(command)
                .then_error(Error::SystemPermission);
        }
    }
}
