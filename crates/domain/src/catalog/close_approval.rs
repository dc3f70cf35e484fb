//! Close an approval whose grant was made in its user's stream, or can no longer be made.

use schemas::ApprovalId;
use schemas::catalog::{ApprovalApplied, CatalogEvent};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseApproval {
    pub approval_id: ApprovalId,
    pub applied: bool,
}

impl Decide<Catalog> for CloseApproval {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let Self { approval_id, applied } = self;
        let found = catalog.approvals.get(&approval_id);
        let is_open = found.is_some_and(|approval| approval.approved_by.is_some());
        let closed = CatalogEvent::ApprovalApplied(ApprovalApplied { approval_id, applied });
        Ok(is_open.then_some(closed).into_iter().collect())
    }
}
