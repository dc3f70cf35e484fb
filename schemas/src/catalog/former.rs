//! Former versions of catalog events, and the steps up to those of today.

use ids::{ApprovalId, PermissionId, RoleId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{ApprovalRequested, ChangeKind, PermissionDefined, ProposedChange, RoleDefined};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RoleDefined")]
pub struct RoleDefinedV1 {
    pub role_id: RoleId,
    pub name: String,
    pub description: Option<String>,
    pub parent_id: Option<RoleId>,
    pub level: i32,
    pub is_system_role: bool,
}

/// No role of v1 denied.
pub(super) fn role_defined_v1_to_v2(old: RoleDefinedV1) -> RoleDefined {
    RoleDefined {
        role_id: old.role_id,
        name: old.name,
        description: old.description,
        parent_id: old.parent_id,
        level: old.level,
        is_system_role: old.is_system_role,
        denies: false,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PermissionDefined")]
pub struct PermissionDefinedV1 {
    pub permission_id: PermissionId,
    pub name: String,
    pub resource: String,
    pub action: String,
    pub description: Option<String>,
    pub category: Option<String>,
    pub is_dangerous: bool,
}

/// v1 knew no conditions.
pub(super) fn permission_defined_v1_to_v2(old: PermissionDefinedV1) -> PermissionDefined {
    PermissionDefined {
        permission_id: old.permission_id,
        name: old.name,
        resource: old.resource,
        action: old.action,
        description: old.description,
        category: old.category,
        is_dangerous: old.is_dangerous,
        condition: None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ApprovalRequested")]
pub struct ApprovalRequestedV1 {
    pub approval_id: ApprovalId,
    pub requested_by: UserId,
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
    pub change: ProposedChangeV1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ProposedChange")]
pub struct ProposedChangeV1 {
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
}

/// v1 knew neither scopes nor conditions, and no role denied.
pub(super) fn approval_requested_v1_to_v2(old: ApprovalRequestedV1) -> Box<ApprovalRequested> {
    let change = old.change;
    Box::new(ApprovalRequested {
        approval_id: old.approval_id,
        requested_by: old.requested_by,
        requested_at: old.requested_at,
        expires_at: old.expires_at,
        change: ProposedChange {
            user_id: change.user_id,
            role_id: change.role_id,
            role: change.role,
            expires_at: change.expires_at,
            parent_id: change.parent_id,
            parent: change.parent,
            permission_id: change.permission_id,
            permission: change.permission,
            resource: change.resource,
            action: change.action,
            description: change.description,
            category: change.category,
            is_dangerous: change.is_dangerous,
            ..ProposedChange::of(change.kind)
        },
    })
}
