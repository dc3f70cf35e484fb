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
        user.admits_login(self.credentials, ctx)?;
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
