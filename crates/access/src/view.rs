//! A catalog as anybody may have it, to be compiled.

use ids::{PermissionId, RoleId};

/// Everything that lives, in any order.
#[derive(Clone, Debug, Default)]
pub struct CatalogView<'a> {
    pub permissions: Vec<PermissionView<'a>>,
    pub roles: Vec<RoleView<'a>>,
    /// Resources and actions that take two people to give.
    pub dangerous: Vec<(&'a str, &'a str)>,
}

#[derive(Clone, Copy, Debug)]
pub struct PermissionView<'a> {
    pub id: PermissionId,
    pub name: &'a str,
    /// Several permissions may have the same resource and action.
    pub resource: &'a str,
    pub action: &'a str,
    pub is_dangerous: bool,
}

#[derive(Clone, Debug)]
pub struct RoleView<'a> {
    pub id: RoleId,
    pub name: &'a str,
    pub parent: Option<RoleId>,
    /// Higher than the parent's, else nothing is inherited.
    pub level: i32,
    pub is_system_role: bool,
    /// What it has by itself; it inherits the rest. Those that are not in the catalog count for nothing.
    pub permissions: Vec<PermissionId>,
}
