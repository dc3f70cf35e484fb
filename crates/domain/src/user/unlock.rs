//! Unlock a user: sign-in is let through again before the lock ends by itself.

use schemas::user::{UserEvent, UserUnlocked};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// Failures count from zero again, else the next one would lock at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock {}

impl Decide<User> for Unlock {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        let locked = user.locked_at(ctx.now);
        let unlocked = locked.map(|_| UserEvent::Unlocked(UserUnlocked {}));
        Ok(unlocked.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use schemas::user::{LockReason, UserLocked};

    use super::*;
    use crate::testing::{Given, given, login_failure, minutes, registered};
    use crate::user::RecordLoginFailure;

    fn fail(count: i32) -> RecordLoginFailure {
        RecordLoginFailure {
            failure: login_failure(count),
            credentials: 1,
            device: None,
        }
    }

    fn locked() -> Given<User> {
        given([registered()]).and(fail(5))
    }

    #[test]
    fn a_lock_ends_once() {
        let unlocked = UserEvent::Unlocked(UserUnlocked {});
        locked().when(Unlock {}).then([unlocked]);
        locked().and(Unlock {}).when(Unlock {}).then_nothing();
    }

    #[test]
    fn a_user_who_is_not_locked_or_no_longer_stays_as_is() {
        given([registered()]).when(Unlock {}).then_nothing();
        locked().at(minutes(1)).when(Unlock {}).then_nothing();
    }

    #[test]
    fn failures_count_from_zero_after_it() {
        let unlocked = locked().and(Unlock {});
        assert_eq!(unlocked.state().failed_logins, 0);
        let locked_again = unlocked.and(fail(4)).and(fail(1));
        // As short as the first one.
        assert_eq!(locked_again.state().locked_until, Some(minutes(1)));
    }

    #[test]
    fn an_administrators_lock_ends_too() {
        let locked = UserEvent::Locked(UserLocked {
            reason: LockReason::Administrator,
            locked_until: minutes(600),
        });
        let user = given([registered(), locked]).and(Unlock {});
        assert_eq!(user.state().locked_until, None);
    }

    #[test]
    fn nobody_cannot_be_unlocked() {
        given([]).when(Unlock {}).then_error(Error::NotFound);
    }
}
