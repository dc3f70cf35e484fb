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
        let (permission_id, permission) =
            catalog.permission_by_name(&self.name).ok_or(Error::NoSuchPermission)?;
        if is_reserved(&permission.name, &permission.resource) {
            return Err(Error::SystemPermission);
        }
        let name = self.name;
        Ok(vec![CatalogEvent::PermissionDeleted(PermissionDeleted { permission_id, name })])
    }
}
