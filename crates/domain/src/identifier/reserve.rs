//! Reserve an identifier for a user about to register.

use schemas::identifier::{IdentifierEvent, IdentifierKind, IdentifierReserved};
use schemas::{ClaimId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::{Error, Identifier};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    pub kind: IdentifierKind,
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub expires_at: Timestamp,
    pub index_key_id: String,
}

impl Decide<Identifier> for Reserve {
    fn decide(self, state: &Identifier, _: &Context) -> Result<Vec<IdentifierEvent>, Error> {
        if state.held_under(self.user_id, self.claim_id).is_some() {
            return Ok(vec![]);
        }
        match state {
            Identifier::Free => Ok(vec![IdentifierEvent::Reserved(IdentifierReserved {
                kind: self.kind,
                user_id: self.user_id,
                claim_id: self.claim_id,
                expires_at: self.expires_at,
                index_key_id: self.index_key_id,
            })]),
            Identifier::Reserved { holder, expires_at } => Err(Error::Reserved {
                user_id: holder.user_id,
                claim_id: holder.claim_id,
                expires_at: *expires_at,
            }),
            Identifier::Held { .. } => Err(Error::Taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifier::{Confirm, Release};
    use crate::testing::{Given, claim, given, identifier_reserved, minutes, user};

    fn reserve(number: u128) -> Reserve {
        Reserve {
            kind: IdentifierKind::Email,
            user_id: user(number),
            claim_id: claim(number),
            expires_at: minutes(60),
            index_key_id: "key".to_owned(),
        }
    }

    fn held() -> Given<Identifier> {
        let confirm = Confirm {
            user_id: user(1),
            claim_id: claim(1),
        };
        given([]).and(reserve(1)).and(confirm)
    }

    #[test]
    fn a_free_identifier_is_reserved() {
        given([])
            .when(reserve(1))
            .then([identifier_reserved(user(1), claim(1))]);
    }

    #[test]
    fn a_released_identifier_is_free() {
        let release = Release {
            user_id: user(1),
            claim_id: claim(1),
        };
        held()
            .and(release)
            .when(reserve(2))
            .then([identifier_reserved(user(2), claim(2))]);
    }

    #[test]
    fn the_same_claim_again_records_nothing() {
        given([]).and(reserve(1)).when(reserve(1)).then_nothing();
        held().when(reserve(1)).then_nothing();
    }

    #[test]
    fn a_contender_learns_whom_to_ask_and_expiry_frees_nothing() {
        let error = Error::Reserved {
            user_id: user(1),
            claim_id: claim(1),
            expires_at: minutes(60),
        };
        let reserved = || given([]).and(reserve(1));
        reserved().when(reserve(2)).then_error(error.clone());
        reserved().at(minutes(600)).when(reserve(2)).then_error(error);
    }

    #[test]
    fn a_held_identifier_is_taken() {
        held().when(reserve(2)).then_error(Error::Taken);
        let another_claim = Reserve {
            claim_id: claim(2),
            ..reserve(1)
        };
        held().when(another_claim).then_error(Error::Taken);
    }
}
