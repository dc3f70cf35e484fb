//! Revoke a role, as it was granted: without limits, or under one scope.

use schemas::GrantScope;
use schemas::RoleId;
use schemas::user::{RoleRevoked, UserEvent};
use serde::{Deserialize, Serialize};

use super::grant_role::check_scope;
use super::{Error, GrantKey, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRole {
    pub role_id: RoleId,
    /// `None`: the grant without limits. Those under scopes stay.
    pub scope: Option<GrantScope>,
}

impl Decide<User> for RevokeRole {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        user.deactivated()?;
        self.scope.as_ref().map_or(Ok(()), check_scope)?;
        let Self { role_id, scope } = self;
        let key = GrantKey { role_id, scope };
        if user.grants.get(&key).is_none() {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::RoleRevoked(RoleRevoked {
            role_id,
            scope: key.scope,
        })])
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::RoleGranted;

    use super::*;
    use crate::testing::{given, registered, role, scope, user_granted, user_revoked};

    fn revoke(scope: Option<GrantScope>) -> RevokeRole {
        RevokeRole {
            role_id: role(1),
            scope,
        }
    }

    #[test]
    fn a_held_role_is_revoked_once() {
        let granted = || given([registered(), user_granted(role(1), None)]);
        granted().when(revoke(None)).then([user_revoked(role(1))]);
        granted().and(revoke(None)).when(revoke(None)).then_nothing();
    }

    #[test]
    fn only_the_grant_of_that_scope_ends() {
        let scoped = UserEvent::RoleGranted(RoleGranted {
            scope: Some(scope("1", false)),
            ..RoleGranted::of(role(1))
        });
        let both = || given([registered(), user_granted(role(1), None), scoped.clone()]);
        both().when(revoke(Some(scope("1", true)))).then_nothing();
        both()
            .when(revoke(Some(scope("1", false))))
            .then([UserEvent::RoleRevoked(RoleRevoked {
                scope: Some(scope("1", false)),
                ..RoleRevoked::of(role(1))
            })]);
        let left = both().and(revoke(None));
        assert!(left.state().grants.get(&GrantKey::unlimited(role(1))).is_none());
        assert_eq!(left.state().grants.len(), 1);
    }

    #[test]
    fn a_scope_that_names_nothing_is_no_ones() {
        given([registered()])
            .when(revoke(Some(scope("", true))))
            .then_error(Error::InvalidScope);
    }

    #[test]
    fn an_unknown_user_loses_no_role() {
        given([]).when(revoke(None)).then_error(Error::NotFound);
    }
}
