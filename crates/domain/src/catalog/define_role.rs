//! Define a role, or change the one that has the name.

use schemas::RoleId;
use schemas::catalog::{CatalogEvent, RoleChanged, RoleDefined};
use serde::{Deserialize, Serialize};

use super::text::{check_description, check_name};
use super::{Catalog, Error, Role, hierarchy};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefineRole {
    /// Used only if no role has the name.
    pub role_id: RoleId,
    pub name: String,
    pub description: Option<String>,
    /// Name of the role to inherit from.
    pub parent: Option<String>,
    /// Said by Rolecall itself alone. Such a role can be changed only by saying it again.
    pub is_system_role: bool,
}

impl Decide<Catalog> for DefineRole {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        check_name(&self.name)?;
        check_description(self.description.as_deref())?;
        let existing = catalog.role_by_name(&self.name);
        if existing.is_some_and(|(_, role)| role.is_system_role != self.is_system_role) {
            return Err(Error::SystemRole);
        }
        let parent = self.parent.as_deref();
        let parent = parent.map(|name| catalog.role_by_name(name).ok_or(Error::NoSuchParent));
        let parent_id = parent.transpose()?.map(|(id, _)| id);
        match existing {
            Some((id, role)) => self.change(catalog, id, role, parent_id),
            None => self.define(catalog, parent_id),
        }
    }
}

impl DefineRole {
    fn define(
        self,
        catalog: &Catalog,
        parent_id: Option<RoleId>,
    ) -> Result<Vec<CatalogEvent>, Error> {
        if catalog.roles.contains_key(&self.role_id) {
            return Err(Error::IdInUse);
        }
        Ok(vec![CatalogEvent::RoleDefined(RoleDefined {
            role_id: self.role_id,
            name: self.name,
            description: self.description,
            parent_id,
            level: hierarchy::level_under(catalog, parent_id)?,
            is_system_role: self.is_system_role,
        })])
    }

    fn change(
        self,
        catalog: &Catalog,
        role_id: RoleId,
        role: &Role,
        parent_id: Option<RoleId>,
    ) -> Result<Vec<CatalogEvent>, Error> {
        if role.description == self.description && role.parent_id == parent_id {
            return Ok(vec![]);
        }
        hierarchy::check_acyclic(catalog, role_id, parent_id)?;
        let level = hierarchy::level_under(catalog, parent_id)?;
        Ok(vec![CatalogEvent::RoleChanged(RoleChanged {
            role_id,
            description: self.description,
            parent_id,
            level,
            descendants: hierarchy::moved_below(catalog, role_id, level)?,
        })])
    }
}
