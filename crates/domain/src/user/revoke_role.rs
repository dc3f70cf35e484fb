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
        user.registered()?;
        if !user.grants.contains_key(&self.role_id) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::RoleRevoked(RoleRevoked { role_id: self.role_id })])
    }
}
