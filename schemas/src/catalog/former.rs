//! Former versions of catalog events, and the steps up to those of today.

use ids::{ApprovalId, PermissionId, RoleId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{ApprovalRequested, ChangeKind, ProposedChange};

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

/// v1 knew no scopes.
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
