//! The catalog as the access model takes it.

use access::{CatalogView, CompiledCatalog, PermissionView, RoleNumbers, RoleView};

use super::Catalog;

impl Catalog {
    pub fn view(&self) -> CatalogView<'_> {
        let permissions = self.permissions.iter().map(|(id, permission)| PermissionView {
            id: *id,
            name: &permission.name,
            resource: &permission.resource,
            action: &permission.action,
            is_dangerous: permission.is_dangerous,
        });
        let roles = self.roles.iter().map(|(id, role)| RoleView {
            id: *id,
            name: &role.name,
            parent: role.parent_id,
            level: role.level,
            is_system_role: role.is_system_role,
            permissions: self.attachments.get(id).into_iter().flatten().copied().collect(),
        });
        let dangerous = self.dangerous.iter();
        CatalogView {
            permissions: permissions.collect(),
            roles: roles.collect(),
            dangerous: dangerous
                .map(|(resource, action)| (resource.as_str(), action.as_str()))
                .collect(),
        }
    }

    /// The form that answers checks, for users whose roles have their numbers from `numbers`.
    pub fn compile(&self, numbers: &RoleNumbers) -> CompiledCatalog {
        CompiledCatalog::of(&self.view(), numbers)
    }
}

#[cfg(test)]
mod properties;
