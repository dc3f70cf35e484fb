//! Changes that wait for a second person.

use schemas::catalog::{ApprovalRequested, ChangeKind, ProposedChange};
use schemas::{ApprovalId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::Catalog;

/// Changes that wait at once, at most: whoever may ask must not fill the catalog.
pub const MAX_PENDING: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub requested_by: UserId,
    pub requested_at: Timestamp,
    /// Exclusive.
    pub expires_at: Timestamp,
    pub change: ProposedChange,
    /// By whom. Only a grant is seen so: its event stands in another stream and may still be missing.
    pub approved_by: Option<UserId>,
}

impl Approval {
    pub fn is_pending(&self, now: Timestamp) -> bool {
        self.approved_by.is_none() && now < self.expires_at
    }
}

impl Catalog {
    /// The approval that this very change waits for already.
    pub fn pending_approval(
        &self,
        change: &ProposedChange,
        now: Timestamp,
    ) -> Option<(ApprovalId, &Approval)> {
        let mut waiting = self.approvals.iter();
        let found = waiting.find(|(_, it)| it.is_pending(now) && it.change == *change);
        found.map(|(id, approval)| (*id, approval))
    }

    pub(super) fn request_approval(&mut self, event: &ApprovalRequested) {
        // Those that came to nothing go with the next one; events alone tell, no clock does.
        self.approvals
            .retain(|_, it| it.approved_by.is_some() || event.requested_at < it.expires_at);
        let approval = Approval {
            requested_by: event.requested_by,
            requested_at: event.requested_at,
            expires_at: event.expires_at,
            change: event.change.clone(),
            approved_by: None,
        };
        self.approvals.insert(event.approval_id, approval);
    }

    pub(super) fn give_approval(&mut self, id: ApprovalId, by: UserId) {
        let Some(approval) = self.approvals.get_mut(&id) else {
            return;
        };
        if approval.change.kind == ChangeKind::GrantRole {
            approval.approved_by = Some(by);
        } else {
            self.approvals.remove(&id);
        }
    }
}
