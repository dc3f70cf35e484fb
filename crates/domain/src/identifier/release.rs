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
    use crate::identifier::Confirm;
    use crate::testing::{claim, given, identifier_reserved, user};

    fn release(number: u128) -> Release {
        Release {
            user_id: user(number),
            claim_id: claim(number),
        }
    }

    #[test]
    fn reserved_or_held_it_is_released_once() {
        let released = || {
            IdentifierEvent::Released(IdentifierReleased {
                kind: IdentifierKind::Email,
                user_id: user(1),
                claim_id: claim(1),
                index_key_id: "key".to_owned(),
            })
        };
        let reserved = || given([identifier_reserved(user(1), claim(1))]);
        let confirm = Confirm {
            user_id: user(1),
            claim_id: claim(1),
        };
        reserved().when(release(1)).then([released()]);
        reserved().and(confirm).when(release(1)).then([released()]);
        reserved().and(release(1)).when(release(1)).then_nothing();
    }

    #[test]
    fn a_late_release_does_not_touch_another_holder() {
        given([identifier_reserved(user(2), claim(2))])
            .when(release(1))
            .then_nothing();
        given([identifier_reserved(user(1), claim(2))])
            .when(release(1))
            .then_nothing();
        given([identifier_reserved(user(2), claim(1))])
            .when(release(1))
            .then_nothing();
    }
}
