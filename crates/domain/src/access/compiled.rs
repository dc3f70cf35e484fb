//! The catalog in the form that answers checks: each role's rights closed over its ancestors.

use std::collections::{BTreeMap, HashMap};

use schemas::catalog::ShardMapChanged;
use schemas::{ApprovalId, PermissionId, RoleId};

use super::bits::Bits;
use crate::catalog::{Approval, Catalog, Role};

/// A check is two look-ups and a bit test. Made anew whenever the catalog changes; 1,000 roles
/// and 5,000 permissions take about 1.5 MB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledCatalog {
    /// A parent stands before its children.
    roles: Vec<CompiledRole>,
    role_ids: HashMap<RoleId, usize>,
    role_names: HashMap<String, usize>,
    /// By name.
    permissions: Vec<CompiledPermission>,
    /// Resource, then action: a look-up needs no key of its own.
    actions: HashMap<String, HashMap<String, ActionIndex>>,
    action_count: usize,
    /// Actions that take two people to give.
    dangerous: Bits,
    approvals: BTreeMap<ApprovalId, Approval>,
    shard_map: Option<ShardMapChanged>,
}

/// A distinct pair of resource and action; several permissions may share it. Means something only
/// to the catalog that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionIndex(usize);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledRole {
    pub id: RoleId,
    pub name: String,
    pub level: i32,
    pub is_system_role: bool,
    parent: Option<usize>,
    permissions: Bits,
    actions: Bits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledPermission {
    pub id: PermissionId,
    pub name: String,
    pub resource: String,
    pub action: String,
    pub is_dangerous: bool,
    action_index: ActionIndex,
}

impl CompiledRole {
    /// By itself or by an ancestor.
    pub fn allows(&self, action: ActionIndex) -> bool {
        self.actions.contains(action.0)
    }

    pub(super) fn permissions(&self) -> &Bits {
        &self.permissions
    }
}

impl CompiledCatalog {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let mut compiled = Self {
            shard_map: catalog.shard_map.clone(),
            approvals: catalog.approvals.clone(),
            ..Self::default()
        };
        for (name, id) in &catalog.permission_names {
            if let Some(permission) = catalog.permissions.get(id) {
                let action_index = compiled.intern(&permission.resource, &permission.action);
                compiled.permissions.push(CompiledPermission {
                    id: *id,
                    name: name.clone(),
                    resource: permission.resource.clone(),
                    action: permission.action.clone(),
                    is_dangerous: permission.is_dangerous,
                    action_index,
                });
            }
        }
        compiled.dangerous = Bits::with_room(compiled.action_count);
        for (resource, action) in &catalog.dangerous {
            if let Some(ActionIndex(index)) = compiled.action(resource, action) {
                compiled.dangerous.insert(index);
            }
        }
        let numbers = compiled.permissions.iter().enumerate();
        let numbers: HashMap<_, _> = numbers.map(|(number, found)| (found.id, number)).collect();
        let mut by_level: Vec<(&RoleId, &Role)> = catalog.roles.iter().collect();
        by_level.sort_by_key(|(_, role)| role.level);
        for (id, role) in by_level {
            let own = catalog.attachments.get(id).into_iter().flatten();
            let own = own.filter_map(|permission| numbers.get(permission).copied());
            compiled.add_role(*id, role, own);
        }
        compiled
    }

    fn intern(&mut self, resource: &str, action: &str) -> ActionIndex {
        let actions = self.actions.entry(resource.to_owned()).or_default();
        *actions.entry(action.to_owned()).or_insert_with(|| {
            self.action_count += 1;
            ActionIndex(self.action_count - 1)
        })
    }

    fn add_role(&mut self, id: RoleId, role: &Role, own: impl Iterator<Item = usize>) {
        let parent = role
            .parent_id
            .and_then(|parent| self.role_ids.get(&parent).copied());
        let (mut permissions, mut actions) = match parent.and_then(|index| self.roles.get(index)) {
            Some(parent) => (parent.permissions.clone(), parent.actions.clone()),
            None => (
                Bits::with_room(self.permissions.len()),
                Bits::with_room(self.action_count),
            ),
        };
        for number in own {
            permissions.insert(number);
            if let Some(permission) = self.permissions.get(number) {
                actions.insert(permission.action_index.0);
            }
        }
        self.role_ids.insert(id, self.roles.len());
        self.role_names.insert(role.name.clone(), self.roles.len());
        let (name, level) = (role.name.clone(), role.level);
        self.roles.push(CompiledRole {
            id,
            name,
            level,
            is_system_role: role.is_system_role,
            parent,
            permissions,
            actions,
        });
    }

    /// Whether the role gives, by itself or by an ancestor, what takes two people to give.
    pub fn gives_danger(&self, role: &CompiledRole) -> bool {
        role.actions.iter().any(|action| self.dangerous.contains(action))
    }

    /// What the role gives that takes two people to give; by name of the permission.
    pub fn dangers_of(&self, role: &CompiledRole) -> impl Iterator<Item = (&str, ActionIndex)> {
        self.permissions_of(role)
            .map(|permission| (permission.name.as_str(), permission.action_index))
            .filter(|(_, action)| self.dangerous.contains(action.0))
    }

    /// Changes that wait for a second person, and grants that may still have to be made. No check needs them.
    pub fn approvals(&self) -> &BTreeMap<ApprovalId, Approval> {
        &self.approvals
    }

    /// The last one. No check needs it; whoever reads shards does.
    pub fn shard_map(&self) -> Option<&ShardMapChanged> {
        self.shard_map.as_ref()
    }

    /// None: no permission has this resource and action.
    pub fn action(&self, resource: &str, action: &str) -> Option<ActionIndex> {
        self.actions.get(resource)?.get(action).copied()
    }

    pub fn role(&self, id: RoleId) -> Option<&CompiledRole> {
        self.roles.get(*self.role_ids.get(&id)?)
    }

    pub fn role_by_name(&self, name: &str) -> Option<&CompiledRole> {
        self.roles.get(*self.role_names.get(name)?)
    }

    /// All of them, a parent before its children.
    pub fn roles(&self) -> impl Iterator<Item = &CompiledRole> {
        self.roles.iter()
    }

    /// All of them, by name.
    pub fn permissions(&self) -> impl Iterator<Item = &CompiledPermission> {
        self.permissions.iter()
    }

    /// What the role has, by itself or by an ancestor; by name.
    pub fn permissions_of(&self, role: &CompiledRole) -> impl Iterator<Item = &CompiledPermission> {
        self.numbered(role.permissions())
    }

    /// The permissions that give this action on this resource; by name.
    pub fn permissions_giving(&self, action: ActionIndex) -> impl Iterator<Item = &CompiledPermission> {
        self.permissions
            .iter()
            .filter(move |permission| permission.action_index == action)
    }

    /// The role and those it inherits from, upwards.
    pub fn lineage<'a>(&'a self, role: &'a CompiledRole) -> impl Iterator<Item = &'a CompiledRole> {
        // A parent has the smaller index, so this ends.
        std::iter::successors(Some(role), |role| self.roles.get(role.parent?))
    }

    pub(super) fn numbered(&self, numbers: &Bits) -> impl Iterator<Item = &CompiledPermission> {
        numbers.iter().filter_map(|number| self.permissions.get(number))
    }

    pub(super) fn no_permissions(&self) -> Bits {
        Bits::with_room(self.permissions.len())
    }
}
