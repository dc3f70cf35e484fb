//! Names that nobody has lock as names do that somebody has: else five wrong passwords would tell one from the other.
//!
//! A decoy is a user in memory, decided by the same rules, of which nothing is written. Each instance has its own.

use std::sync::Arc;
use std::time::Duration;

use domain::user::{RecordLoginFailure, User};
use domain::{Context, Decide};
use moka::sync::Cache;
use parking_lot::Mutex;
use schemas::user::{LoginFailed, UserEvent, UserRegistered};
use schemas::{BlindIndex, ClaimId, Sealed, Timestamp, UserId};
use uuid::Uuid;

/// About 10 MB when full. Whoever tries more names than that at once meets the limits of a network first.
const DECOYS: u64 = 10_000;
/// Longer than any lock.
const REMEMBERED: Duration = Duration::from_secs(3_600);

pub struct Decoys(Cache<BlindIndex, Arc<Mutex<User>>>);

impl Default for Decoys {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(DECOYS).time_to_idle(REMEMBERED);
        Self(cache.build())
    }
}

impl Decoys {
    /// Until when a sign-in under this name is refused, if it is.
    pub fn locked(&self, index: BlindIndex, now: Timestamp) -> Option<Timestamp> {
        self.0.get(&index).and_then(|decoy| decoy.lock().locked_at(now))
    }

    pub fn fail(&self, index: BlindIndex, now: Timestamp) {
        let decoy = self.0.get_with(index, || Arc::new(Mutex::new(decoy(index))));
        let mut decoy = decoy.lock();
        let failure = RecordLoginFailure {
            failure: LoginFailed {
                count: 1,
                first_at: now,
                last_at: now,
                known_devices: Vec::new(),
                ip_network: None,
                ip_address: None,
                user_agent: None,
            },
            credentials: decoy.credentials,
            device: None,
        };
        // A lock that came in between counts no further failure.
        for event in failure.decide(&decoy, &Context { now }).unwrap_or_default() {
            decoy.apply(&event);
        }
    }
}

fn decoy(index: BlindIndex) -> User {
    let nothing = Sealed::from_bytes(&[]);
    let mut user = User::default();
    user.apply(&UserEvent::Registered(UserRegistered {
        user_id: UserId::from_uuid(Uuid::nil()),
        claim_id: ClaimId::from_uuid(Uuid::nil()),
        username: nothing.clone(),
        username_index: index,
        email: nothing.clone(),
        email_index: index,
        phone_number: None,
        password_hash: nothing,
        email_verified: false,
        phone_verified: false,
    }));
    user
}

#[cfg(test)]
mod tests {
    use schemas::Sha256Digest;

    use super::*;

    #[test]
    fn a_name_that_nobody_has_locks_as_any_other() {
        let (decoys, name) = (Decoys::default(), BlindIndex(Sha256Digest([1; 32])));
        let at = |minute: u64| Timestamp::from_micros(0).plus(Duration::from_secs(60 * minute));
        for _ in 0..4 {
            decoys.fail(name, at(0));
            assert_eq!(decoys.locked(name, at(0)), None);
        }
        decoys.fail(name, at(0));
        assert_eq!(decoys.locked(name, at(0)), Some(at(1)));
        assert_eq!(decoys.locked(BlindIndex(Sha256Digest([2; 32])), at(0)), None);
        assert_eq!(decoys.locked(name, at(1)), None);
        decoys.fail(name, at(1));
        assert_eq!(decoys.locked(name, at(1)), Some(at(3)));
    }
}
