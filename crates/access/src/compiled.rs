//! The catalog in the form that answers checks: each role's rights closed over its ancestors.

use std::collections::HashMap;

use ids::{PermissionId, RoleId};

use crate::actions::Actions;
use crate::bits::{Bits, Row, Rows};
use crate::numbers::{NO_ROLE, RoleNumbers};
use crate::view::{CatalogView, RoleView};

/// A check is a look-up and a bit for each role. Made anew whenever the catalog changes.
#[derive(Clone, Debug, Default)]
pub struct CompiledCatalog {
    /// A parent stands before its children.
    roles: Vec<CompiledRole>,
    role_ids: HashMap<RoleId, usize>,
    role_names: HashMap<String, usize>,
    /// By name.
    permissions: Vec<CompiledPermission>,
    actions: Actions,
    /// For each action the numbers of the roles that give it, by themselves or by an ancestor.
    gives: Rows,
    /// The ids of the roles with these numbers; whatever for numbers that no role here has.
    numbered: Vec<RoleId>,
    /// Actions that take two people to give.
    dangerous: Bits,
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
    number: u32,
    parent: Option<usize>,
    permissions: Bits,
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
    pub(crate) fn permissions(&self) -> &Bits {
        &self.permissions
    }
}

impl CompiledCatalog {
    /// For users whose roles have their numbers from `numbers`.
    pub fn of(catalog: &CatalogView<'_>, numbers: &RoleNumbers) -> Self {
        let mut compiled = Self::default();
        for permission in &catalog.permissions {
            let action = compiled.actions.insert(permission.resource, permission.action);
            compiled.permissions.push(CompiledPermission {
                id: permission.id,
                name: permission.name.to_owned(),
                resource: permission.resource.to_owned(),
                action: permission.action.to_owned(),
                is_dangerous: permission.is_dangerous,
                action_index: ActionIndex(action),
            });
        }
        compiled.permissions.sort_by(|a, b| a.name.cmp(&b.name));
        compiled.dangerous = Bits::with_room(compiled.actions.len());
        for (resource, action) in &catalog.dangerous {
            if let Some(ActionIndex(index)) = compiled.action(resource, action) {
                compiled.dangerous.insert(index);
            }
        }
        let places = compiled.permissions.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(place, found)| (found.id, place)).collect();
        let mut by_level: Vec<&RoleView<'_>> = catalog.roles.iter().collect();
        by_level.sort_by_key(|role| (role.level, role.id));
        for role in by_level {
            let own = role.permissions.iter();
            let own = own.filter_map(|permission| places.get(permission).copied());
            compiled.add_role(role, numbers.of(role.id), own);
        }
        compiled.transpose();
        compiled
    }

    fn add_role(&mut self, role: &RoleView<'_>, number: u32, own: impl Iterator<Item = usize>) {
        let parent = role.parent.and_then(|parent| self.role_ids.get(&parent).copied());
        let mut permissions = match parent.and_then(|index| self.roles.get(index)) {
            Some(parent) => parent.permissions.clone(),
            None => Bits::with_room(self.permissions.len()),
        };
        own.for_each(|place| permissions.insert(place));
        self.role_ids.insert(role.id, self.roles.len());
        self.role_names.insert(role.name.to_owned(), self.roles.len());
        self.roles.push(CompiledRole {
            id: role.id,
            name: role.name.to_owned(),
            level: role.level,
            is_system_role: role.is_system_role,
            number,
            parent,
            permissions,
        });
    }

    /// From what each role has to who has each action: a check then reads one row, whatever it finds there.
    fn transpose(&mut self) {
        let numbers = self.roles.iter().map(|role| place(role.number));
        let room = numbers.max().map_or(0, |highest| highest + 1);
        let mut gives = vec![Bits::with_room(room); self.actions.len()];
        self.numbered = vec![RoleId::from_uuid(Default::default()); room];
        for role in &self.roles {
            let number = place(role.number);
            self.numbered[number] = role.id;
            for permission in role.permissions.iter() {
                let ActionIndex(action) = self.permissions[permission].action_index;
                gives[action].insert(number);
            }
        }
        self.gives = Rows::of(gives);
    }

    /// Whether the role gives the action, by itself or by an ancestor.
    pub fn allows(&self, role: &CompiledRole, action: ActionIndex) -> bool {
        self.givers(action).contains(role.number)
    }

    /// Whether the role gives, by itself or by an ancestor, what takes two people to give.
    pub fn gives_danger(&self, role: &CompiledRole) -> bool {
        let mut dangers = self.dangerous.iter();
        dangers.any(|action| self.allows(role, ActionIndex(action)))
    }

    /// What the role gives that takes two people to give; by name of the permission.
    pub fn dangers_of(&self, role: &CompiledRole) -> impl Iterator<Item = (&str, ActionIndex)> {
        self.permissions_of(role)
            .map(|permission| (permission.name.as_str(), permission.action_index))
            .filter(|(_, action)| self.dangerous.contains(action.0))
    }

    /// None: no permission has this resource and action.
    pub fn action(&self, resource: &str, action: &str) -> Option<ActionIndex> {
        self.actions.get(resource, action).map(ActionIndex)
    }

    /// The numbers of the roles that give it.
    pub(crate) fn givers(&self, action: ActionIndex) -> Row<'_> {
        self.gives.row(action.0)
    }

    /// The role of this number, if it gives anything.
    pub(crate) fn numbered(&self, number: u32) -> Option<RoleId> {
        self.numbered.get(place(number)).copied()
    }

    pub(crate) fn number(&self, id: RoleId) -> u32 {
        self.role(id).map_or(NO_ROLE, |role| role.number)
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
        self.permissions_at(role.permissions())
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

    pub(crate) fn permissions_at(&self, places: &Bits) -> impl Iterator<Item = &CompiledPermission> {
        places.iter().filter_map(|place| self.permissions.get(place))
    }

    pub(crate) fn no_permissions(&self) -> Bits {
        Bits::with_room(self.permissions.len())
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
