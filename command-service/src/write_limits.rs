//! How often the same session or account may write what its owner may write again and again: an event stays for ever.

use std::time::Duration;

use clap::Args;
use schemas::{SessionId, UserId};
use service_kit::buckets::Buckets;
use service_kit::problem::{Problem, ProblemType};

/// Writes let through; one more is answered 429. Each command service counts for itself.
#[derive(Args, Clone, Copy, Debug)]
pub struct WriteLimits {
    /// Refreshes a minute of one session.
    #[arg(long, env = "ROLECALL_REFRESHES_PER_SESSION", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub refreshes_per_session: u32,
    /// Changes an hour of one account's user name, e-mail address or phone number.
    #[arg(long, env = "ROLECALL_CHANGES_PER_ACCOUNT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub changes_per_account: u32,
}

pub struct Writes {
    refreshes: Buckets<SessionId>,
    changes: Buckets<UserId>,
}

impl Writes {
    pub fn new(limits: WriteLimits) -> Self {
        Self {
            refreshes: Buckets::a_minute(limits.refreshes_per_session),
            changes: Buckets::an_hour(limits.changes_per_account),
        }
    }

    /// Lets a refresh through, or says when the next may come. For whoever has a token of the session.
    pub fn admit_refresh(&self, session: SessionId) -> Result<(), Problem> {
        self.refreshes.take(&session).map_err(too_many)
    }

    /// The same for a change of an account's profile.
    pub fn admit_change(&self, user: UserId) -> Result<(), Problem> {
        self.changes.take(&user).map_err(too_many)
    }
}

fn too_many(wait: Duration) -> Problem {
    metrics::counter!("writes_refused_total").increment(1);
    Problem::new(ProblemType::TooManyAttempts).retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_or_account_writes_so_often_and_others_are_not_held_back() {
        let writes = Writes::new(WriteLimits {
            refreshes_per_session: 3,
            changes_per_account: 2,
        });
        let (session, user) = (SessionId::new_v7(), UserId::new_v7());
        for _ in 0..3 {
            writes.admit_refresh(session).unwrap();
        }
        let refused = writes.admit_refresh(session).unwrap_err();
        assert_eq!(refused.status(), 429);
        assert!(refused.retry_after.is_some_and(|wait| wait.as_secs() <= 20));
        writes.admit_refresh(SessionId::new_v7()).unwrap();
        for _ in 0..2 {
            writes.admit_change(user).unwrap();
        }
        assert_eq!(writes.admit_change(user).unwrap_err().status(), 429);
        writes.admit_change(UserId::new_v7()).unwrap();
    }
}
