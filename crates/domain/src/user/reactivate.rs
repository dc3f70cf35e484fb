//! Reactivate a user; the grants of before count again.

use schemas::user::{UserEvent, UserReactivated};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactivate {}

impl Decide<User> for Reactivate {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.registered()?.deactivated {
            Ok(vec![UserEvent::Reactivated(UserReactivated {})])
        } else {
            Ok(vec![])
        }
    }
}
