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
        if user.uses(claim_id) {
            return Err(Error::ClaimUsed);
        }
        if user.abandoned_claims.contains(&claim_id) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{claim, given, registered};

    const fn abandoned(claim_id: ClaimId) -> UserEvent {
        UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id })
    }

    #[test]
    fn a_claim_is_abandoned_before_anyone_registered() {
        given([])
            .when(AbandonClaim { claim_id: claim(1) })
            .then([abandoned(claim(1))]);
    }

    #[test]
    fn abandoning_twice_records_one_event() {
        given([abandoned(claim(1))])
            .when(AbandonClaim { claim_id: claim(1) })
            .then_nothing();
    }

    #[test]
    fn a_used_claim_stays_used() {
        let command = AbandonClaim { claim_id: claim(1) };
        given([registered()]).when(command).then_error(Error::ClaimUsed);
    }

    #[test]
    fn another_claim_of_a_registered_user_can_be_abandoned() {
        let command = AbandonClaim { claim_id: claim(2) };
        given([registered()]).when(command).then([abandoned(claim(2))]);
    }
}
