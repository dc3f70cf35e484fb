//! What the events of the catalog add up to: the living roles and permissions.

use std::collections::{BTreeMap, BTreeSet};

use schemas::catalog::{
    BootstrapEpochRaised, CatalogEvent, PartitionEnd, PermissionDefined, PermissionDeleted, RoleChanged,
    RoleDefined, RoleDeleted, ShardMapChanged,
};
use schemas::{ApprovalId, PermissionId, RoleId};
use serde::{Deserialize, Serialize};

use super::approvals::Approval;
use super::danger::Deed;

/// A name belongs to the id that has it now; after deletion the same name gets another id, so
/// grants of a deleted role never revive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    pub roles: BTreeMap<RoleId, Role>,
    pub role_names: BTreeMap<String, RoleId>,
    pub permissions: BTreeMap<PermissionId, Permission>,
    pub permission_names: BTreeMap<String, PermissionId>,
    /// What each role has by itself; it inherits the rest.
    pub attachments: BTreeMap<RoleId, BTreeSet<PermissionId>>,
    /// Resources and actions that take two people to give.
    pub dangerous: BTreeSet<Deed>,
    /// Changes that wait for a second person, or whose grant may still be missing.
    pub approvals: BTreeMap<ApprovalId, Approval>,
    /// The last one raised, with its administrator.
    pub bootstrap: Option<BootstrapEpochRaised>,
    /// How far the other topics had come when that was recorded last.
    pub extent: Vec<PartitionEnd>,
    /// The last one, once a command service with shards has started.
    pub shard_map: Option<ShardMapChanged>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub description: Option<String>,
    pub parent_id: Option<RoleId>,
    /// Distance from the top of its hierarchy.
    pub level: i32,
    pub is_system_role: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    pub name: String,
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: bool,
}

impl Catalog {
    pub fn role_by_name(&self, name: &str) -> Option<(RoleId, &Role)> {
        let id = self.role_names.get(name)?;
        self.roles.get(id).map(|role| (*id, role))
    }

    pub fn permission_by_name(&self, name: &str) -> Option<(PermissionId, &Permission)> {
        let id = self.permission_names.get(name)?;
        self.permissions.get(id).map(|permission| (*id, permission))
    }

    pub fn bootstrap_epoch(&self) -> i32 {
        self.bootstrap.map_or(0, |raised| raised.epoch)
    }

    pub(super) fn furthest(&self, end: PartitionEnd) -> PartitionEnd {
        let is_same = |known: &&PartitionEnd| (&known.topic, known.partition) == (&end.topic, end.partition);
        let known = self.extent.iter().find(is_same);
        PartitionEnd {
            next_offset: known.map_or(0, |known| known.next_offset).max(end.next_offset),
            ..end
        }
    }

    pub(super) fn is_attached(&self, role_id: RoleId, permission_id: PermissionId) -> bool {
        self.attachments
            .get(&role_id)
            .is_some_and(|own| own.contains(&permission_id))
    }

    pub fn apply(&mut self, event: &CatalogEvent) {
        match event {
            CatalogEvent::RoleDefined(e) => self.define_role(e),
            CatalogEvent::RoleChanged(e) => self.change_role(e),
            CatalogEvent::RoleDeleted(e) => self.delete_role(e),
            CatalogEvent::PermissionDefined(e) => self.define_permission(e),
            CatalogEvent::PermissionDeleted(e) => self.delete_permission(e),
            CatalogEvent::PermissionAttached(e) => {
                self.attachments
                    .entry(e.role_id)
                    .or_default()
                    .insert(e.permission_id);
            }
            CatalogEvent::PermissionDetached(e) => {
                if let Some(own) = self.attachments.get_mut(&e.role_id) {
                    own.remove(&e.permission_id);
                }
            }
            CatalogEvent::ApprovalRequested(e) => self.request_approval(e),
            CatalogEvent::ApprovalGiven(e) => self.give_approval(e.approval_id, e.approved_by),
            CatalogEvent::ApprovalRefused(e) => {
                self.approvals.remove(&e.approval_id);
            }
            CatalogEvent::ApprovalWithdrawn(e) => {
                self.approvals.remove(&e.approval_id);
            }
            CatalogEvent::ApprovalApplied(e) => {
                self.approvals.remove(&e.approval_id);
            }
            CatalogEvent::BootstrapEpochRaised(e) => self.bootstrap = Some(*e),
            CatalogEvent::ExtentRecorded(e) => self.extent.clone_from(&e.ends),
            CatalogEvent::ShardMapChanged(e) => self.shard_map = Some(e.clone()),
        }
    }

    fn define_role(&mut self, event: &RoleDefined) {
        self.role_names.insert(event.name.clone(), event.role_id);
        let role = Role {
            name: event.name.clone(),
            description: event.description.clone(),
            parent_id: event.parent_id,
            level: event.level,
            is_system_role: event.is_system_role,
        };
        self.roles.insert(event.role_id, role);
    }

    fn change_role(&mut self, event: &RoleChanged) {
        if let Some(role) = self.roles.get_mut(&event.role_id) {
            role.description = event.description.clone();
            role.parent_id = event.parent_id;
            role.level = event.level;
        }
        for moved in &event.descendants {
            if let Some(role) = self.roles.get_mut(&moved.role_id) {
                role.level = moved.level;
            }
        }
    }

    fn delete_role(&mut self, event: &RoleDeleted) {
        self.roles.remove(&event.role_id);
        self.role_names.remove(&event.name);
        self.attachments.remove(&event.role_id);
    }

    fn define_permission(&mut self, event: &PermissionDefined) {
        self.permission_names
            .insert(event.name.clone(), event.permission_id);
        let permission = Permission {
            name: event.name.clone(),
            resource: event.resource.clone(),
            action: event.action.clone(),
            description: event.description.clone(),
            category: event.category.clone(),
            is_dangerous: event.is_dangerous,
        };
        self.permissions.insert(event.permission_id, permission);
        self.follow_danger(event);
    }

    fn delete_permission(&mut self, event: &PermissionDeleted) {
        self.permissions.remove(&event.permission_id);
        self.permission_names.remove(&event.name);
        for own in self.attachments.values_mut() {
            own.remove(&event.permission_id);
        }
    }
}
