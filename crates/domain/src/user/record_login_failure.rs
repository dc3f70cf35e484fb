//! Record a wrong password, and lock sign-in for a while when it was one too many.

use std::time::Duration;

use schemas::user::{LockReason, LoginFailed, UserEvent, UserLocked};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// The failure, counted without a break, from which on each one locks.
const FAILURES_TO_LOCK: i64 = 5;
/// Never longer: a lock must not become a way to keep the owner out.
const LONGEST_LOCK: Duration = minutes(15);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLoginFailure {
    /// One failure, or several of a short window folded into one record.
    pub failure: LoginFailed,
    /// [`User::credentials`] that the password was checked against.
    pub credentials: i64,
}

impl Decide<User> for RecordLoginFailure {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.admits_attempt(self.credentials, ctx)?;
        let failures = user.failures_with(&self.failure);
        let mut events = vec![UserEvent::LoginFailed(self.failure)];
        if failures >= FAILURES_TO_LOCK {
            events.push(UserEvent::Locked(UserLocked {
                reason: LockReason::FailedLogins,
                locked_until: ctx.now.plus(lock_span(user.locks)),
            }));
        }
        Ok(events)
    }
}

fn lock_span(locks_before: u32) -> Duration {
    let doubled = 1_u64.checked_shl(locks_before).map_or(LONGEST_LOCK, minutes);
    doubled.min(LONGEST_LOCK)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, given, logged_in, login_failure, minutes, registered, session, user_deactivated,
    };

    fn fail(count: i32) -> RecordLoginFailure {
        RecordLoginFailure {
            failure: login_failure(count),
            credentials: 1,
        }
    }

    fn failed(count: i32) -> UserEvent {
        UserEvent::LoginFailed(login_failure(count))
    }

    fn locked(minute: i64) -> UserEvent {
        let (reason, locked_until) = (LockReason::FailedLogins, minutes(minute));
        UserEvent::Locked(UserLocked { reason, locked_until })
    }

    fn failing(times: usize) -> Given<User> {
        (0..times).fold(given([registered()]), |user, _| user.and(fail(1)))
    }

    #[test]
    fn four_failures_do_not_lock_and_the_fifth_does() {
        failing(3).when(fail(1)).then([failed(1)]);
        failing(4).when(fail(1)).then([failed(1), locked(1)]);
    }

    #[test]
    fn folded_failures_count_each() {
        failing(2).when(fail(3)).then([failed(3), locked(1)]);
    }

    #[test]
    fn a_nonsensical_count_is_one_failure() {
        failing(4).when(fail(-7)).then([failed(-7), locked(1)]);
    }

    #[test]
    fn a_lock_refuses_to_count_further_failures() {
        failing(5)
            .when(fail(1))
            .then_error(Error::Locked { until: minutes(1) });
    }

    #[test]
    fn locks_grow_to_fifteen_minutes_and_no_longer() {
        let (mut user, mut start) = (failing(4), 0);
        for length in [1, 2, 4, 8, 15, 15, 15] {
            user = user.at(minutes(start)).and(fail(1));
            start += length;
            assert_eq!(user.state().locked_until, Some(minutes(start)));
        }
        assert_eq!(lock_span(u32::MAX), LONGEST_LOCK);
    }

    #[test]
    fn a_login_starts_the_count_anew() {
        let back = failing(5).after([logged_in(session(1))]);
        assert_eq!(back.state().locked_until, None);
        let four_more = (0..4).fold(back, |user, _| user.and(fail(1)));
        four_more.when(fail(1)).then([failed(1), locked(1)]);
    }

    #[test]
    fn failures_of_nobody_are_not_recorded() {
        given([]).when(fail(1)).then_error(Error::NotFound);
    }

    #[test]
    fn guessing_a_deactivated_users_password_locks_too() {
        let deactivated = || given([registered(), user_deactivated()]);
        deactivated().when(fail(1)).then([failed(1)]);
        let guessed = (0..5).fold(deactivated(), |user, _| user.and(fail(1)));
        guessed
            .when(fail(1))
            .then_error(Error::Locked { until: minutes(1) });
    }

    #[test]
    fn a_password_checked_before_it_changed_is_checked_again() {
        let outdated = RecordLoginFailure {
            credentials: 0,
            ..fail(1)
        };
        given([registered()])
            .when(outdated)
            .then_error(Error::CredentialsChanged);
    }
}
