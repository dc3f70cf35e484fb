//! Create a service account: the commit point of the claim on its name.

use schemas::user::{ServiceAccountCreated, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateServiceAccount {
    pub created: ServiceAccountCreated,
}

impl Decide<User> for CreateServiceAccount {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let claim_id = self.created.claim_id;
        match (&user.service, &user.account) {
            (Some(service), _) if service.username_claim == claim_id => Ok(vec![]),
            _ if user.abandoned_claims.contains(&claim_id) => Err(Error::ClaimAbandoned),
            _ if user.erased.is_some() => Err(Error::AlreadyRegistered),
            (None, None) => Ok(vec![UserEvent::ServiceAccountCreated(self.created)]),
            (Some(_), _) | (_, Some(_)) => Err(Error::AlreadyRegistered),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::ClaimAbandoned;

    use super::*;
    use crate::testing::{claim, given, registered, role, service_created, service_creation, user_granted};
    use crate::user::{AbandonClaim, ChangePassword, Deactivate, Register, Status};

    fn create(claim_number: u128) -> CreateServiceAccount {
        CreateServiceAccount {
            created: ServiceAccountCreated {
                claim_id: claim(claim_number),
                ..service_creation()
            },
        }
    }

    #[test]
    fn a_service_account_is_created_once_a_claim() {
        let created = UserEvent::ServiceAccountCreated(create(1).created);
        given([]).when(create(1)).then([created]);
        given([service_created()]).when(create(1)).then_nothing();
        given([service_created()])
            .when(create(2))
            .then_error(Error::AlreadyRegistered);
        given([registered()])
            .when(create(2))
            .then_error(Error::AlreadyRegistered);
        let registration = crate::testing::registration();
        let register = Register {
            registration: schemas::user::UserRegistered {
                claim_id: claim(9),
                ..registration
            },
        };
        given([service_created()])
            .when(register)
            .then_error(Error::AlreadyRegistered);
    }

    #[test]
    fn either_the_account_or_the_contender_gets_the_claim() {
        let abandoned = UserEvent::ClaimAbandoned(ClaimAbandoned { claim_id: claim(1) });
        given([abandoned])
            .when(create(1))
            .then_error(Error::ClaimAbandoned);
        let abandon = AbandonClaim { claim_id: claim(1) };
        given([service_created()])
            .when(abandon)
            .then_error(Error::ClaimUsed);
    }

    #[test]
    fn it_is_granted_roles_and_deactivated_and_has_no_password() {
        let account = || given::<User>([service_created(), user_granted(role(1), None)]);
        assert_eq!(account().state().status(), Status::Active);
        let after = account().and(Deactivate {});
        assert_eq!(after.state().status(), Status::Deactivated);
        let change = ChangePassword {
            password_hash: crate::testing::sealed("hash"),
            credentials: 0,
            keep: None,
        };
        account().when(change).then_error(Error::NotFound);
    }
}
