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
        let (permission_id, _) =
            catalog.permission_by_name(&self.permission).ok_or(Error::NoSuchPermission)?;
        if !catalog.is_attached(role_id, permission_id) {
            return Ok(vec![]);
        }
        if role.is_system_role && !self.system {
            return Err(Error::SystemRole);
        }
        Ok(vec![CatalogEvent::PermissionDetached(PermissionDetached { role_id, permission_id })])
    }
}
