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
        if catalog.roles.values().any(|other| other.parent_id == Some(role_id)) {
            return Err(Error::RoleInUse);
        }
        Ok(vec![CatalogEvent::RoleDeleted(RoleDeleted { role_id, name: self.name })])
    }
}
