//! Issue a key of a service account, for all of its roles or some, for good or until a time.

use schemas::RoleId;
use schemas::user::{ServiceKeyIssued, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, MAX_KEYS, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueServiceKey {
    /// With an id that no other key has.
    pub issued: ServiceKeyIssued,
}

impl Decide<User> for IssueServiceKey {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        let service = user.service.as_ref().ok_or(Error::NotFound)?;
        if service.deactivated {
            return Err(Error::Deactivated);
        }
        if self.issued.expires_at.is_some_and(|at| at <= ctx.now) {
            return Err(Error::ExpiryInPast);
        }
        let lives = |role: &RoleId| user.grants.hold_role(*role, ctx.now);
        if !self.issued.roles.iter().flatten().all(lives) {
            return Err(Error::RoleNotHeld);
        }
        if service.good_keys(ctx.now) >= MAX_KEYS {
            return Err(Error::TooManyKeys);
        }
        Ok(vec![UserEvent::ServiceKeyIssued(self.issued)])
    }
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;

    use super::*;
    use crate::testing::{
        Given, NOW, given, key_issued, minutes, registered, role, service_created, service_key,
        user_deactivated, user_granted,
    };

    fn account() -> Given<User> {
        given([
            service_created(),
            user_granted(role(1), None),
            user_granted(role(2), Some(minutes(1))),
        ])
    }

    fn issue(roles: Option<Vec<u128>>, expires_at: Option<Timestamp>) -> IssueServiceKey {
        IssueServiceKey {
            issued: ServiceKeyIssued {
                roles: roles.map(|roles| roles.into_iter().map(role).collect()),
                expires_at,
                ..service_key(1)
            },
        }
    }

    #[test]
    fn a_key_is_for_all_roles_or_some_that_are_held() {
        for roles in [None, Some(vec![]), Some(vec![1]), Some(vec![1, 2])] {
            let command = issue(roles, Some(minutes(5)));
            let issued = UserEvent::ServiceKeyIssued(command.issued.clone());
            account().when(command).then([issued]);
        }
        account()
            .when(issue(Some(vec![1, 3]), None))
            .then_error(Error::RoleNotHeld);
        account()
            .at(minutes(1))
            .when(issue(Some(vec![2]), None))
            .then_error(Error::RoleNotHeld);
    }

    #[test]
    fn only_active_service_accounts_have_keys() {
        given([]).when(issue(None, None)).then_error(Error::NotFound);
        given([registered()])
            .when(issue(None, None))
            .then_error(Error::NotFound);
        let inactive = account().after([user_deactivated()]);
        inactive.when(issue(None, None)).then_error(Error::Deactivated);
        account()
            .when(issue(None, Some(NOW)))
            .then_error(Error::ExpiryInPast);
    }

    #[test]
    fn good_keys_are_bounded_and_expired_ones_make_room() {
        let full = |expires_at: Option<Timestamp>| {
            let keys = (100..)
                .take(MAX_KEYS)
                .map(move |number| key_issued(number, expires_at));
            account().after(keys)
        };
        full(None).when(issue(None, None)).then_error(Error::TooManyKeys);
        let after = full(Some(minutes(1))).at(minutes(1)).and(issue(None, None));
        let keys = &after.state().service.as_ref().unwrap().keys;
        assert_eq!(keys.len(), MAX_KEYS);
        assert!(keys.contains_key(&service_key(1).key_id));
    }
}
