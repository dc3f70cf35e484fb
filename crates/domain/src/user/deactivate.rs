//! Deactivate a user: nothing is allowed any more, sessions end, grants stay for a return.

use schemas::user::{UserDeactivated, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivate {}

impl Decide<User> for Deactivate {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.deactivated()? {
            return Ok(vec![]);
        }
        let revoked_sessions = user.live_session_ids(ctx.now, None);
        Ok(vec![UserEvent::Deactivated(UserDeactivated { revoked_sessions })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, logged_in, registered, role, session, user_granted};
    use crate::user::Status;

    #[test]
    fn deactivation_ends_all_sessions_and_keeps_the_grants() {
        let active = || given([registered(), logged_in(session(1)), user_granted(role(1), None)]);
        let deactivated = UserDeactivated {
            revoked_sessions: vec![session(1)],
        };
        active()
            .when(Deactivate {})
            .then([UserEvent::Deactivated(deactivated)]);
        let after = active().and(Deactivate {});
        assert_eq!(after.state().status(), Status::Deactivated);
        assert!(after.state().sessions.is_empty() && after.state().grants.len() == 1);
    }

    #[test]
    fn deactivating_twice_records_one_event() {
        given([registered()])
            .and(Deactivate {})
            .when(Deactivate {})
            .then_nothing();
    }

    #[test]
    fn nobody_cannot_be_deactivated() {
        given([]).when(Deactivate {}).then_error(Error::NotFound);
    }
}
