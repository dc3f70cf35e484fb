//! Register a user: the commit point of the claim on both identifiers.

use schemas::user::{UserEvent, UserRegistered};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub registration: UserRegistered,
}

impl Decide<User> for Register {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let claim_id = self.registration.claim_id;
        match &user.account {
            Some(account) if account.claim_id == claim_id => Ok(vec![]),
            _ if user.abandoned_claims.contains(&claim_id) => Err(Error::ClaimAbandoned),
            Some(_) => Err(Error::AlreadyRegistered),
            None => Ok(vec![UserEvent::Registered(self.registration)]),
        }
    }
}
