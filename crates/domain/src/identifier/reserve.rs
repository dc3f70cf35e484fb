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
