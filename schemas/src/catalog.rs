//! Events of roles and permissions.

use serde::{Deserialize, Serialize};

use crate::events::{event_type, events};
use crate::id::{PermissionId, RoleId, UserId};

events! {
    /// What can happen to roles and permissions.
    pub enum CatalogEvent {
        RoleDefined(RoleDefined) => ("catalog.role_defined", 1),
        RoleChanged(RoleChanged) => ("catalog.role_changed", 1),
        RoleDeleted(RoleDeleted) => ("catalog.role_deleted", 1),
        PermissionDefined(PermissionDefined) => ("catalog.permission_defined", 1),
        PermissionDeleted(PermissionDeleted) => ("catalog.permission_deleted", 1),
        PermissionAttached(PermissionAttached) => ("catalog.permission_attached", 1),
        PermissionDetached(PermissionDetached) => ("catalog.permission_detached", 1),
        BootstrapEpochRaised(BootstrapEpochRaised) => ("catalog.bootstrap_epoch_raised", 1),
        ExtentRecorded(ExtentRecorded) => ("catalog.extent_recorded", 1),
        ShardMapChanged(ShardMapChanged) => ("shard_map_changed", 2, from 1: ShardMapChangedV1 => shard_map_changed_v1_to_v2),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleDefined")]
pub struct RoleDefined {
    pub role_id: RoleId,
    pub name: String,
    pub description: Option<String>,
    pub parent_id: Option<RoleId>,
    /// Distance from the top of its hierarchy.
    pub level: i32,
    pub is_system_role: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleChanged")]
pub struct RoleChanged {
    pub role_id: RoleId,
    pub description: Option<String>,
    pub parent_id: Option<RoleId>,
    pub level: i32,
    /// Roles below, whose level moved with it.
    pub descendants: Vec<RoleLevel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleLevel")]
pub struct RoleLevel {
    pub role_id: RoleId,
    pub level: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleDeleted")]
pub struct RoleDeleted {
    pub role_id: RoleId,
    pub name: String,
}

/// A permission exists; the same id again replaces its attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PermissionDefined")]
pub struct PermissionDefined {
    pub permission_id: PermissionId,
    pub name: String,
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PermissionDeleted")]
pub struct PermissionDeleted {
    pub permission_id: PermissionId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PermissionAttached")]
pub struct PermissionAttached {
    pub role_id: RoleId,
    pub permission_id: PermissionId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PermissionDetached")]
pub struct PermissionDetached {
    pub role_id: RoleId,
    pub permission_id: PermissionId,
}

/// A higher bootstrap epoch was configured: it makes one further administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "BootstrapEpochRaised")]
pub struct BootstrapEpochRaised {
    /// That of a new log is 0.
    pub epoch: i32,
    /// Registered next, by any service of that epoch.
    pub administrator: UserId,
}

/// How far the other topics had come at least: one that is shorter was deleted, made anew or cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ExtentRecorded")]
pub struct ExtentRecorded {
    pub ends: Vec<PartitionEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PartitionEnd")]
pub struct PartitionEnd {
    /// Without the prefix.
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
}

/// On which shard the rows of each ledger lie from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ShardMapChanged")]
pub struct ShardMapChanged {
    /// That of a log's first map is 1.
    pub version: i32,
    /// By ledger.
    pub placement: Vec<i32>,
    /// Their ids are 0 and up.
    pub shards: i32,
    /// Copies that are filled from the log and read by nobody yet.
    #[serde(default)] // states saved before there were any
    pub filling: Vec<LedgerCopy>,
    /// Former places of ledgers, kept up for readers that do not know this map yet.
    #[serde(default)]
    pub leaving: Vec<LedgerCopy>,
}

/// A ledger's rows on a shard that is not its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "LedgerCopy")]
pub struct LedgerCopy {
    pub ledger: i32,
    pub shard: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ShardMapChanged")]
pub struct ShardMapChangedV1 {
    pub version: i32,
    pub placement: Vec<i32>,
    pub shards: i32,
}

/// v1 knew one copy of each ledger only.
pub(crate) fn shard_map_changed_v1_to_v2(old: ShardMapChangedV1) -> ShardMapChanged {
    ShardMapChanged {
        version: old.version,
        placement: old.placement,
        shards: old.shards,
        filling: Vec::new(),
        leaving: Vec::new(),
    }
}
