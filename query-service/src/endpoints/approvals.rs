//! GET /v1/approvals: changes that wait for a second person, from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::catalog::Approval;
use domain::rolecall_permissions::Permission;
use schemas::catalog::{ChangeKind, ProposedChange};
use schemas::{ApprovalId, PermissionId, RoleId, Timestamp, UserId};
use serde::Serialize;
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::scopes::Scope;

#[derive(Serialize, ToSchema)]
pub struct ApprovalsAnswer {
    /// The oldest first.
    approvals: Vec<ApprovalAnswer>,
}

#[derive(Serialize, ToSchema)]
pub struct ApprovalAnswer {
    #[schema(value_type = Uuid)]
    id: ApprovalId,
    /// `pending`, or `approved` for a grant that is about to be made.
    #[schema(example = "pending")]
    status: &'static str,
    #[schema(value_type = Uuid)]
    requested_by: UserId,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// Exclusive.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<Uuid>)]
    approved_by: Option<UserId>,
    change: ChangeAnswer,
}

/// Only what the kind of change has.
#[derive(Serialize, ToSchema)]
pub struct ChangeAnswer {
    /// `grant_role`, `attach_permission`, `define_role` or `define_permission`.
    #[schema(value_type = String, example = "grant_role")]
    kind: ChangeKind,
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    role_id: Option<RoleId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_id: Option<PermissionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_dangerous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
}

/// Changes that wait for a second person
///
/// Needs the permission `rolecall.catalog_read`.
#[utoipa::path(
    get,
    path = "/v1/approvals",
    tag = "catalog",
    responses(
        (status = 200, description = "What waits", body = ApprovalsAnswer),
        (status = 401, description = "No valid access token", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "A permission is missing", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Not applied yet", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn approvals(
    State(app): State<Arc<App>>,
    caller: Caller,
    at_least: AtLeast,
) -> Result<Response, Problem> {
    app.reach(caller, &at_least).await?;
    app.require(caller, Permission::CatalogRead)?;
    let token = app.catalog_basis();
    let (aside, now) = (app.node.aside(), app.now());
    let open = |it: &Approval| it.approved_by.is_some() || it.is_pending(now);
    let approvals = aside.approvals.iter().filter(|(_, it)| open(it));
    let approvals = approvals.map(|(id, approval)| answer(*id, approval.clone()));
    let answer = ApprovalsAnswer {
        approvals: approvals.collect(),
    };
    Ok((token, Json(answer)).into_response())
}

fn answer(id: ApprovalId, approval: Approval) -> ApprovalAnswer {
    ApprovalAnswer {
        id,
        status: if approval.approved_by.is_some() {
            "approved"
        } else {
            "pending"
        },
        requested_by: approval.requested_by,
        requested_at: approval.requested_at,
        expires_at: approval.expires_at,
        approved_by: approval.approved_by,
        change: change(approval.change),
    }
}

fn change(change: ProposedChange) -> ChangeAnswer {
    ChangeAnswer {
        kind: change.kind,
        user_id: change.user_id,
        role_id: change.role_id,
        role: change.role,
        expires_at: change.expires_at,
        parent: change.parent,
        permission_id: change.permission_id,
        permission: change.permission,
        resource: change.resource,
        action: change.action,
        description: change.description,
        category: change.category,
        is_dangerous: change.is_dangerous,
        scope: change.scope.map(Scope::from),
    }
}
