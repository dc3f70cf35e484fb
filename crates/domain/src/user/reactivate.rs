//! Reactivate a user; the grants of before count again.

use schemas::user::{UserEvent, UserReactivated};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactivate {}

impl Decide<User> for Reactivate {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.deactivated()? {
            Ok(vec![UserEvent::Reactivated(UserReactivated {})])
        } else {
            Ok(vec![])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, registered, user_deactivated};

    #[test]
    fn a_deactivated_user_comes_back_once() {
        let reactivated = UserEvent::Reactivated(UserReactivated {});
        let away = || given([registered(), user_deactivated()]);
        away().when(Reactivate {}).then([reactivated]);
        away().and(Reactivate {}).when(Reactivate {}).then_nothing();
    }

    #[test]
    fn nobody_cannot_be_reactivated() {
        given([]).when(Reactivate {}).then_error(Error::NotFound);
    }
}
