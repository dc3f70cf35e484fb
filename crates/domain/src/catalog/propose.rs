//! Propose a change: made at once if one person may make it, else it waits for a second one.

use schemas::catalog::{ApprovalRequested, CatalogEvent, ChangeKind, ProposedChange};
use schemas::{ApprovalId, GrantScope, RoleId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{AttachPermission, Catalog, DefinePermission, DefineRole, Error, MAX_PENDING};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    /// Used only if the change has to wait, and does not yet.
    pub approval_id: ApprovalId,
    pub requested_by: UserId,
    pub expires_at: Timestamp,
    pub proposal: Proposal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    AttachPermission(AttachPermission),
    DefineRole(DefineRole),
    DefinePermission(DefinePermission),
    /// Of a role that gives danger; any other grant is the user's own affair.
    GrantRole {
        user_id: UserId,
        role_id: RoleId,
        scope: Option<GrantScope>,
        expires_at: Option<Timestamp>,
    },
}

impl Decide<Catalog> for Propose {
    fn decide(self, catalog: &Catalog, ctx: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let change = self.proposal.describe(catalog)?;
        let (events, waits) = match self.proposal {
            Proposal::AttachPermission(command) => {
                let waits = catalog.attaches_danger(&command);
                (command.decide(catalog, ctx)?, waits)
            }
            Proposal::DefineRole(command) => {
                let waits = catalog.inherits_danger(&command);
                (command.decide(catalog, ctx)?, waits)
            }
            Proposal::DefinePermission(command) => {
                let waits = catalog.defines_danger_away(&command);
                (command.decide(catalog, ctx)?, waits)
            }
            Proposal::GrantRole { .. } => {
                return request(
                    catalog,
                    ctx,
                    self.approval_id,
                    self.requested_by,
                    self.expires_at,
                    change,
                );
            }
        };
        if events.is_empty() || !waits {
            return Ok(events);
        }
        request(
            catalog,
            ctx,
            self.approval_id,
            self.requested_by,
            self.expires_at,
            change,
        )
    }
}

fn request(
    catalog: &Catalog,
    ctx: &Context,
    approval_id: ApprovalId,
    requested_by: UserId,
    expires_at: Timestamp,
    change: ProposedChange,
) -> Result<Vec<CatalogEvent>, Error> {
    if catalog.pending_approval(&change, ctx.now).is_some() {
        return Ok(vec![]);
    }
    if catalog.approvals.contains_key(&approval_id) {
        return Err(Error::IdInUse);
    }
    let waiting = catalog.approvals.values().filter(|it| it.is_pending(ctx.now));
    if waiting.count() >= MAX_PENDING {
        return Err(Error::TooManyApprovals);
    }
    let requested = ApprovalRequested {
        approval_id,
        requested_by,
        requested_at: ctx.now,
        expires_at,
        change,
    };
    Ok(vec![CatalogEvent::ApprovalRequested(Box::new(requested))])
}

impl Proposal {
    /// The change as an event tells it, by what names mean at this moment.
    pub fn describe(&self, catalog: &Catalog) -> Result<ProposedChange, Error> {
        let role_id = |name: &str| catalog.role_by_name(name).map(|(id, _)| id);
        Ok(match self {
            Self::AttachPermission(command) => {
                let (permission_id, permission) = catalog
                    .permission_by_name(&command.permission)
                    .ok_or(Error::NoSuchPermission)?;
                ProposedChange {
                    role_id: Some(role_id(&command.role).ok_or(Error::NoSuchRole)?),
                    role: Some(command.role.clone()),
                    permission_id: Some(permission_id),
                    permission: Some(command.permission.clone()),
                    resource: Some(permission.resource.clone()),
                    action: Some(permission.action.clone()),
                    ..ProposedChange::of(ChangeKind::AttachPermission)
                }
            }
            Self::DefineRole(command) => ProposedChange {
                role_id: role_id(&command.name),
                role: Some(command.name.clone()),
                description: command.description.clone(),
                parent_id: command.parent.as_deref().and_then(role_id),
                parent: command.parent.clone(),
                ..ProposedChange::of(ChangeKind::DefineRole)
            },
            Self::DefinePermission(command) => ProposedChange {
                permission_id: catalog.permission_by_name(&command.name).map(|(id, _)| id),
                permission: Some(command.name.clone()),
                resource: Some(command.resource.clone()),
                action: Some(command.action.clone()),
                description: command.description.clone(),
                category: command.category.clone(),
                is_dangerous: Some(command.is_dangerous),
                ..ProposedChange::of(ChangeKind::DefinePermission)
            },
            Self::GrantRole {
                user_id,
                role_id,
                scope,
                expires_at,
            } => {
                let role = catalog.roles.get(role_id).ok_or(Error::NoSuchRole)?;
                ProposedChange {
                    user_id: Some(*user_id),
                    role_id: Some(*role_id),
                    role: Some(role.name.clone()),
                    expires_at: *expires_at,
                    scope: scope.clone(),
                    ..ProposedChange::of(ChangeKind::GrantRole)
                }
            }
        })
    }
}
