//! What takes two people.
//!
//! Danger belongs to what is done, an action on a resource: else a second, harmless permission for the same would be
//! a way around. Once dangerous it stays so, whatever becomes of the permission, until two people say otherwise.

use std::collections::BTreeSet;

use schemas::RoleId;
use schemas::catalog::PermissionDefined;

use super::{AttachPermission, Catalog, DefinePermission, DefineRole, Permission};

/// Resource and action.
pub type Deed = (String, String);

impl Catalog {
    /// Whether a role gives, by itself or by an ancestor, what takes two people to give.
    pub fn gives_danger(&self, role_id: RoleId) -> bool {
        !self.dangers_of(Some(role_id)).is_empty()
    }

    /// What of it the role gives.
    pub(super) fn dangers_of(&self, role_id: Option<RoleId>) -> BTreeSet<Deed> {
        let parent = |id: &RoleId| self.roles.get(id).and_then(|role| role.parent_id);
        // No cycle can be defined, so this ends.
        let lineage = std::iter::successors(role_id, parent);
        let permissions = lineage.flat_map(|id| self.attachments.get(&id).into_iter().flatten());
        let deeds = permissions.filter_map(|id| self.permissions.get(id)).map(deed);
        deeds.filter(|deed| self.dangerous.contains(deed)).collect()
    }

    /// Attaching it gives danger to the role and all below, held or not.
    pub(super) fn attaches_danger(&self, command: &AttachPermission) -> bool {
        let found = self.permission_by_name(&command.permission);
        found.is_some_and(|(_, permission)| self.dangerous.contains(&deed(permission)))
    }

    /// A role that comes to stand below others inherits what it did not have.
    pub(super) fn inherits_danger(&self, command: &DefineRole) -> bool {
        let named = |name: &str| self.role_by_name(name).map(|(id, _)| id);
        let before = self.dangers_of(named(&command.name));
        let above = self.dangers_of(command.parent.as_deref().and_then(named));
        !above.is_subset(&before)
    }

    /// Makes a dangerous permission harmless, gives a dangerous deed another, harmless name, or has those who
    /// hold a permission do by it what is dangerous.
    pub(super) fn defines_danger_away(&self, command: &DefinePermission) -> bool {
        let new = (command.resource.clone(), command.action.clone());
        let is_dangerous_deed = self.dangerous.contains(&new);
        let before = self.permission_by_name(&command.name);
        let turns_harmless = before.is_some_and(|(_, old)| old.is_dangerous && !command.is_dangerous);
        let is_attached = |id| self.attachments.values().any(|own| own.contains(&id));
        let gives_more = before.is_some_and(|(id, old)| deed(old) != new && is_attached(id));
        turns_harmless || is_dangerous_deed && (!command.is_dangerous || gives_more)
    }

    /// After the definition itself was applied.
    pub(super) fn follow_danger(&mut self, event: &PermissionDefined) {
        let defined = (event.resource.clone(), event.action.clone());
        let mut others = self.permissions.values();
        if others.any(|it| it.is_dangerous && deed(it) == defined) {
            self.dangerous.insert(defined);
        } else {
            self.dangerous.remove(&defined);
        }
    }
}

fn deed(permission: &Permission) -> Deed {
    (permission.resource.clone(), permission.action.clone())
}
