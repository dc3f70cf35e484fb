//! Limits of how often something may be tried, for each of many, in bounded memory.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Buckets that are not full, at most. Each is full again soon, so that many are tens of thousands
/// of sources at once.
const BUCKETS: usize = 65_536;

/// A bucket for each key that holds a period's worth and fills evenly.
pub struct Buckets<K: Eq + Hash + Clone, C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    limiter: ArcSwap<Limiter<K, C>>,
}

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<K: Eq + Hash + Clone> Buckets<K> {
    pub fn a_minute(count: u32) -> Self {
        Self::with_clock(Quota::per_minute, count, DefaultClock::default())
    }

    pub fn an_hour(count: u32) -> Self {
        Self::with_clock(Quota::per_hour, count, DefaultClock::default())
    }
}

impl<K: Eq + Hash + Clone, C: Clock + Clone> Buckets<K, C> {
    fn with_clock(quota: fn(NonZeroU32) -> Quota, count: u32, clock: C) -> Self {
        let quota = quota(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        let limiter = Limiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self {
            quota,
            clock,
            limiter: ArcSwap::from_pointee(limiter),
        }
    }

    /// Takes one, or says how long until there is one.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        self.bound();
        let taken = self.limiter.load().check_key(key);
        taken.map_err(|until| until.wait_time_from(self.clock.now()))
    }

    fn bound(&self) {
        let limiter = self.limiter.load();
        if limiter.len() < BUCKETS {
            return;
        }
        limiter.retain_recent();
        if limiter.len() > BUCKETS / 2 {
            // More sources at once than there is memory for: what bounds the hashes is their queue.
            let empty = Limiter::new(self.quota, HashMapStateStore::default(), self.clock.clone());
            self.limiter.store(empty.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn a_bucket_holds_a_minutes_worth_and_fills_evenly() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::with_clock(Quota::per_minute, 30, clock.clone());
        let pass = |millis| clock.advance(Duration::from_millis(millis));
        assert!((0..30).all(|_| buckets.take(&"alice").is_ok()));
        assert_eq!(buckets.take(&"alice"), Err(Duration::from_secs(2)));
        pass(1_500);
        assert_eq!(buckets.take(&"alice"), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(&"bob"), Ok(()));
        pass(500);
        assert_eq!(buckets.take(&"alice"), Ok(()));
        assert!(buckets.take(&"alice").is_err());
        pass(200_000);
        assert!((0..30).all(|_| buckets.take(&"alice").is_ok()));
    }

    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::with_clock(Quota::per_minute, 30, FakeRelativeClock::default());
        for number in 0..BUCKETS * 3 {
            assert!(buckets.take(&number).is_ok());
        }
        assert!(buckets.limiter.load().len() <= BUCKETS);
    }
}
