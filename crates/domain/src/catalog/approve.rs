//! Approve a change, as the second person: a change of the catalog takes effect with that.

use schemas::catalog::{ApprovalGiven, CatalogEvent, ChangeKind, ProposedChange};
use schemas::{ApprovalId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AttachPermission, Catalog, DefinePermission, DefineRole, Error, Proposal};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approve {
    pub approval_id: ApprovalId,
    pub approved_by: UserId,
    /// Of the role or permission that the change makes, if it makes one.
    pub new_id: Uuid,
}

impl Decide<Catalog> for Approve {
    fn decide(self, catalog: &Catalog, ctx: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let approval_id = self.approval_id;
        let approval = catalog.approvals.get(&approval_id).ok_or(Error::NoSuchApproval)?;
        if approval.approved_by.is_some() {
            return Ok(vec![]);
        }
        if !approval.is_pending(ctx.now) {
            return Err(Error::NoSuchApproval);
        }
        if approval.requested_by == self.approved_by {
            return Err(Error::OwnApproval);
        }
        let given = CatalogEvent::ApprovalGiven(ApprovalGiven {
            approval_id,
            approved_by: self.approved_by,
        });
        let proposal = proposal(&approval.change, self.new_id).ok_or(Error::StaleApproval)?;
        // What was asked for and what would be done now must be the same: names may mean something else by now.
        if proposal.describe(catalog).as_ref() != Ok(&approval.change) {
            return Err(Error::StaleApproval);
        }
        let change = match proposal {
            Proposal::AttachPermission(command) => command.decide(catalog, ctx)?,
            Proposal::DefineRole(command) => command.decide(catalog, ctx)?,
            Proposal::DefinePermission(command) => command.decide(catalog, ctx)?,
            // Stands in the user's stream, and follows.
            Proposal::GrantRole { .. } => vec![],
        };
        Ok([given].into_iter().chain(change).collect())
    }
}

/// None for a change that this version does not know.
fn proposal(change: &ProposedChange, new_id: Uuid) -> Option<Proposal> {
    let change = change.clone();
    Some(match change.kind {
        ChangeKind::Other => return None,
        ChangeKind::GrantRole => Proposal::GrantRole {
            user_id: change.user_id?,
            role_id: change.role_id?,
            scope: change.scope,
            expires_at: change.expires_at,
        },
        ChangeKind::AttachPermission => Proposal::AttachPermission(AttachPermission {
            role: change.role?,
            permission: change.permission?,
            system: false,
        }),
        ChangeKind::DefineRole => Proposal::DefineRole(DefineRole {
            role_id: new_id.into(),
            name: change.role?,
            description: change.description,
            parent: change.parent,
            is_system_role: false,
        }),
        ChangeKind::DefinePermission => Proposal::DefinePermission(DefinePermission {
            permission_id: new_id.into(),
            name: change.permission?,
            resource: change.resource?,
            action: change.action?,
            description: change.description,
            category: change.category,
            is_dangerous: change.is_dangerous?,
            system: false,
        }),
    })
}

#[cfg(test)]
mod tests;
