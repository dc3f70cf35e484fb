//! Confirm a reservation after the user event of its claim.

use schemas::identifier::{IdentifierConfirmed, IdentifierEvent};
use schemas::{ClaimId, UserId};
use serde::{Deserialize, Serialize};

use super::{Error, Identifier};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    pub user_id: UserId,
    pub claim_id: ClaimId,
}

impl Decide<Identifier> for Confirm {
    fn decide(self, state: &Identifier, _: &Context) -> Result<Vec<IdentifierEvent>, Error> {
        let reserved = matches!(state, Identifier::Reserved { .. });
        let events = state.held_under(self.user_id, self.claim_id).filter(|_| reserved).map(|own| {
            IdentifierEvent::Confirmed(IdentifierConfirmed {
                kind: own.kind,
                user_id: own.user_id,
                claim_id: own.claim_id,
            })
        });
        Ok(events.into_iter().collect())
    }
}
