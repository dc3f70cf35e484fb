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
        for name in [&self.name, &self.resource, &self.action].into_iter().chain(&self.category) {
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
