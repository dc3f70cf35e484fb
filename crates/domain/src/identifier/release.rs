//! Release an identifier, reserved or held.

use schemas::identifier::{IdentifierEvent, IdentifierReleased};
use schemas::{ClaimId, UserId};
use serde::{Deserialize, Serialize};

use super::{Error, Identifier};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub user_id: UserId,
    pub claim_id: ClaimId,
}

impl Decide<Identifier> for Release {
    fn decide(self, state: &Identifier, _: &Context) -> Result<Vec<IdentifierEvent>, Error> {
        let events = state.held_under(self.user_id, self.claim_id).map(|own| {
            IdentifierEvent::Released(IdentifierReleased {
                kind: own.kind,
                user_id: own.user_id,
                claim_id: own.claim_id,
            })
        });
        Ok(events.into_iter().collect())
    }
}
