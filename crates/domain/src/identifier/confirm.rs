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
        let events = state
            .held_under(self.user_id, self.claim_id)
            .filter(|_| reserved)
            .map(|own| {
                IdentifierEvent::Confirmed(IdentifierConfirmed {
                    kind: own.kind,
                    user_id: own.user_id,
                    claim_id: own.claim_id,
                    index_key_id: own.index_key_id.clone(),
                })
            });
        Ok(events.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use schemas::identifier::IdentifierKind;

    use super::*;
    use crate::testing::{claim, given, identifier_reserved, user};

    fn confirm(number: u128) -> Confirm {
        Confirm {
            user_id: user(number),
            claim_id: claim(number),
        }
    }

    #[test]
    fn a_reservation_is_confirmed_once() {
        let reserved = || given([identifier_reserved(user(1), claim(1))]);
        reserved()
            .when(confirm(1))
            .then([IdentifierEvent::Confirmed(IdentifierConfirmed {
                kind: IdentifierKind::Email,
                user_id: user(1),
                claim_id: claim(1),
                index_key_id: "key".to_owned(),
            })]);
        reserved().and(confirm(1)).when(confirm(1)).then_nothing();
    }

    #[test]
    fn a_late_confirmation_does_not_touch_another_holder() {
        given([identifier_reserved(user(2), claim(2))])
            .when(confirm(1))
            .then_nothing();
        given([identifier_reserved(user(1), claim(2))])
            .when(confirm(1))
            .then_nothing();
        given([identifier_reserved(user(2), claim(1))])
            .when(confirm(1))
            .then_nothing();
        given([]).when(confirm(1)).then_nothing();
    }
}
