//! Revoke a role.

use schemas::RoleId;
use schemas::user::{RoleRevoked, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRole {
    pub role_id: RoleId,
}

impl Decide<User> for RevokeRole {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        user.deactivated()?;
        if !user.grants.contains_key(&self.role_id) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::RoleRevoked(RoleRevoked {
            role_id: self.role_id,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, registered, role, user_granted, user_revoked};

    #[test]
    fn a_held_role_is_revoked_once() {
        let revoke = RevokeRole { role_id: role(1) };
        let granted = || given([registered(), user_granted(role(1), None)]);
        granted().when(revoke.clone()).then([user_revoked(role(1))]);
        granted().and(revoke.clone()).when(revoke).then_nothing();
    }

    #[test]
    fn an_unknown_user_loses_no_role() {
        given([])
            .when(RevokeRole { role_id: role(1) })
            .then_error(Error::NotFound);
    }
}
