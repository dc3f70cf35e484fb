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
            Some(account) if account.names().all(|name| name.claim_id == claim_id) => Ok(vec![]),
            _ if user.abandoned_claims.contains(&claim_id) => Err(Error::ClaimAbandoned),
            Some(_) => Err(Error::AlreadyRegistered),
            None if user.erased.is_some() => Err(Error::AlreadyRegistered),
            None if user.service.is_some() => Err(Error::AlreadyRegistered),
            None => Ok(vec![UserEvent::Registered(self.registration)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::ClaimAbandoned;

    use super::*;
    use crate::testing::{claim, given, registered, registration};

    fn register(claim_number: u128) -> Register {
        let registration = UserRegistered {
            claim_id: claim(claim_number),
            ..registration()
        };
        Register { registration }
    }

    #[test]
    fn a_new_user_is_registered_with_credentials_number_one() {
        let registered = UserEvent::Registered(register(1).registration);
        given([]).when(register(1)).then([registered]);
        assert_eq!(given::<User>([]).and(register(1)).state().credentials, 1);
    }

    #[test]
    fn the_same_claim_again_records_nothing() {
        given([registered()]).when(register(1)).then_nothing();
    }

    #[test]
    fn an_abandoned_claim_comes_too_late() {
        let abandoned = UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: claim(1) });
        given([abandoned])
            .when(register(1))
            .then_error(Error::ClaimAbandoned);
    }

    #[test]
    fn another_claim_may_follow_an_abandoned_one() {
        let abandoned = UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: claim(1) });
        let registered = UserEvent::Registered(register(2).registration);
        given([abandoned]).when(register(2)).then([registered]);
    }

    #[test]
    fn a_user_registers_once() {
        given([registered()])
            .when(register(2))
            .then_error(Error::AlreadyRegistered);
    }
}
