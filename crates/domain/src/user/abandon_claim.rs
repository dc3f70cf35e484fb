//! Abandon a claim on identifiers, asked for by a contender once the reservation has expired.

use schemas::ClaimId;
use schemas::user::{ClaimAbandoned, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// Decided where registration is, so exactly one of the two wins, whatever any clock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonClaim {
    pub claim_id: ClaimId,
}

impl Decide<User> for AbandonClaim {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let claim_id = self.claim_id;
        if user.account.as_ref().is_some_and(|account| account.claim_id == claim_id) {
            return Err(Error::ClaimUsed);
        }
        if user.abandoned_claims.contains(&claim_id) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id })])
    }
}
