//! Deactivate a user: nothing is allowed any more, sessions end, grants stay for a return.

use schemas::user::{UserDeactivated, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivate {}

impl Decide<User> for Deactivate {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.registered()?.deactivated {
            return Ok(vec![]);
        }
        let revoked_sessions = user.live_session_ids(ctx.now, None);
        Ok(vec![UserEvent::Deactivated(UserDeactivated { revoked_sessions })])
    }
}
