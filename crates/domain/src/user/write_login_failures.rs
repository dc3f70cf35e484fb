//! Write what was folded: no further failure came to take it along.

use schemas::user::UserEvent;
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteLoginFailures {}

impl Decide<User> for WriteLoginFailures {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        Ok(user.unwritten_failures().into_iter().collect())
    }
}
