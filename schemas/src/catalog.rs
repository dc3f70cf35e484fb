//! Events of roles and permissions.

mod former;

use serde::{Deserialize, Serialize};

use crate::events::{event_type, events};
use ids::Timestamp;
use ids::{ApprovalId, GrantScope, PermissionId, RoleId, UserId};

pub use former::ApprovalRequestedV1;

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
        ApprovalRequested(Box<ApprovalRequested>) => (
            "catalog.approval_requested", 2, from 1: ApprovalRequestedV1 => former::approval_requested_v1_to_v2
        ),
        ApprovalGiven(ApprovalGiven) => ("catalog.approval_given", 1),
        ApprovalRefused(ApprovalRefused) => ("catalog.approval_refused", 1),
        ApprovalWithdrawn(ApprovalWithdrawn) => ("catalog.approval_withdrawn", 1),
        ApprovalApplied(ApprovalApplied) => ("catalog.approval_applied", 1),
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

/// A change that gives a dangerous permission waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalRequested")]
pub struct ApprovalRequested {
    pub approval_id: ApprovalId,
    pub requested_by: UserId,
    pub requested_at: Timestamp,
    /// It can be approved until then, exclusive.
    pub expires_at: Timestamp,
    pub change: ProposedChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ChangeKind", rename_all = "snake_case")]
pub enum ChangeKind {
    Other,
    GrantRole,
    AttachPermission,
    DefineRole,
    DefinePermission,
}

/// The whole of a change; `kind` says which fields are set. Ids are those that the names had when it was asked
/// for, absent for what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ProposedChange")]
pub struct ProposedChange {
    pub kind: ChangeKind,
    pub user_id: Option<UserId>,
    pub role_id: Option<RoleId>,
    pub role: Option<String>,
    pub expires_at: Option<Timestamp>,
    pub parent_id: Option<RoleId>,
    pub parent: Option<String>,
    pub permission_id: Option<PermissionId>,
    pub permission: Option<String>,
    pub resource: Option<String>,
    pub action: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: Option<bool>,
    pub scope: Option<GrantScope>,
}

impl ProposedChange {
    /// Of which nothing else is said yet.
    pub const fn of(kind: ChangeKind) -> Self {
        Self {
            kind,
            user_id: None,
            role_id: None,
            role: None,
            expires_at: None,
            parent_id: None,
            parent: None,
            permission_id: None,
            permission: None,
            resource: None,
            action: None,
            description: None,
            category: None,
            is_dangerous: None,
            scope: None,
        }
    }
}

/// A change of the catalog stands behind it in the same transaction; a grant follows in its user's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalGiven")]
pub struct ApprovalGiven {
    pub approval_id: ApprovalId,
    pub approved_by: UserId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalRefused")]
pub struct ApprovalRefused {
    pub approval_id: ApprovalId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalWithdrawn")]
pub struct ApprovalWithdrawn {
    pub approval_id: ApprovalId,
}

/// A grant that was approved is made, or can no longer be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalApplied")]
pub struct ApprovalApplied {
    pub approval_id: ApprovalId,
    pub applied: bool,
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
