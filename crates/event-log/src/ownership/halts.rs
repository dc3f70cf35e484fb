//! Groups that halted in this instance: others shall have them, and they are tried again here after a while.
//!
//! A member cannot refuse a part of its share: it steps back from all of it, until another has claimed what
//! halted or the while is over. Its other groups move as in any planned move, and some come back with it. What
//! halts wherever it is tried goes round ever more slowly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::WriterId;

/// Long enough for another instance to read a group's history in most cases.
const FIRST: Duration = Duration::from_secs(15);
/// Meanwhile nobody may be left who takes the other groups, if another instance dies.
const LONGEST: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Halts(BTreeMap<usize, Halted>);

struct Halted {
    /// In a row.
    times: u32,
    again: Instant,
    /// Who owned it then, by the log.
    owner: Option<WriterId>,
}

impl Halts {
    pub(super) fn note(&mut self, index: usize, owner: Option<WriterId>, now: Instant) {
        let times = self.0.get(&index).map_or(0, |it| it.times).saturating_add(1);
        let jitter = 0.75 + 0.5 * rand::random::<f64>();
        let again = now + back_off(times).mul_f64(jitter);
        self.0.insert(index, Halted { times, again, owner });
    }

    /// It serves again.
    pub(super) fn forget(&mut self, index: usize) {
        self.0.remove(&index);
    }

    /// Whether it is too early to try this one again.
    pub(super) fn is_resting(&self, index: usize, now: Instant) -> bool {
        self.0.get(&index).is_some_and(|it| now < it.again)
    }

    /// Whether something is still waiting for another instance to take it.
    pub(super) fn wait_for_others(&self, now: Instant, owner: impl Fn(usize) -> Option<WriterId>) -> bool {
        let is_waiting = |(&index, it): (&usize, &Halted)| now < it.again && owner(index) == it.owner;
        self.0.iter().any(is_waiting)
    }
}

fn back_off(times: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << times.saturating_sub(1).min(16));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_halting_is_tried_ever_more_rarely() {
        assert_eq!(back_off(1), FIRST);
        assert_eq!(back_off(2), FIRST * 2);
        assert_eq!(back_off(9), LONGEST);
        assert_eq!(back_off(u32::MAX), LONGEST);
    }

    #[test]
    fn others_are_waited_for_until_one_has_claimed_or_the_while_is_over() {
        let (mut halts, now) = (Halts::default(), Instant::now());
        let (own, other) = (Some(WriterId::new_v7()), Some(WriterId::new_v7()));
        assert!(!halts.wait_for_others(now, |_| own));
        halts.note(3, own, now);
        assert!(halts.wait_for_others(now, |_| own) && halts.is_resting(3, now));
        assert!(!halts.is_resting(4, now));
        assert!(!halts.wait_for_others(now, |_| other));
        // It is not taken back at once.
        assert!(halts.is_resting(3, now));
        let later = now + FIRST * 2;
        assert!(!halts.wait_for_others(later, |_| own) && !halts.is_resting(3, later));
    }

    #[test]
    fn serving_once_ends_it() {
        let (mut halts, now) = (Halts::default(), Instant::now());
        for _ in 0..3 {
            halts.note(0, None, now);
        }
        assert!(halts.is_resting(0, now + FIRST * 2));
        halts.forget(0);
        assert!(!halts.is_resting(0, now) && !halts.wait_for_others(now, |_| None));
        halts.note(0, None, now);
        assert!(!halts.is_resting(0, now + FIRST * 2));
    }
}
