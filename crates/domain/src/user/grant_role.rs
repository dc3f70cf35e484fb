//! Grant a role, for good or until a time; granting again moves the expiry.

use schemas::user::{RoleGranted, UserEvent};
use schemas::{RoleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, MAX_GRANTS, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRole {
    pub role_id: RoleId,
    pub expires_at: Option<Timestamp>,
}

impl Decide<User> for GrantRole {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        let Self { role_id, expires_at } = self;
        let lives = |expiry: Option<Timestamp>| expiry.is_none_or(|at| ctx.now < at);
        if !lives(expires_at) {
            return Err(Error::ExpiryInPast);
        }
        if user.grants.get(&role_id) == Some(&expires_at) {
            return Ok(vec![]);
        }
        let others = user.grants.iter().filter(|(id, expiry)| **id != role_id && lives(**expiry));
        if others.count() >= MAX_GRANTS {
            return Err(Error::TooManyGrants);
        }
        Ok(vec![UserEvent::RoleGranted(RoleGranted { role_id, expires_at })])
    }
}
