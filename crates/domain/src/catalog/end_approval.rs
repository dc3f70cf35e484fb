//! End an approval without its change: withdrawn by who asked, refused by somebody else.

use schemas::catalog::{ApprovalRefused, ApprovalWithdrawn, CatalogEvent};
use schemas::{ApprovalId, UserId};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndApproval {
    pub approval_id: ApprovalId,
    pub ended_by: UserId,
}

impl Decide<Catalog> for EndApproval {
    fn decide(self, catalog: &Catalog, ctx: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let approval_id = self.approval_id;
        let found = catalog.approvals.get(&approval_id);
        let approval = found
            .filter(|it| it.is_pending(ctx.now))
            .ok_or(Error::NoSuchApproval)?;
        Ok(vec![if approval.requested_by == self.ended_by {
            CatalogEvent::ApprovalWithdrawn(ApprovalWithdrawn { approval_id })
        } else {
            CatalogEvent::ApprovalRefused(ApprovalRefused { approval_id })
        }])
    }
}
