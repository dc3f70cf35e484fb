//! Which calls have come already, so that one that somebody read on the wire and sends again is not carried out.
//!
//! Every sender numbers its calls, and the receiver remembers the last ones of each: as many bits as it takes
//! for calls to overtake each other, whatever their rate. A number is never taken twice, one too far back not at all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::WriterId;

use super::seal::FRESH;

/// Calls of one sender that may be under way at the same time, or overtake each other.
const WIDTH: u64 = 65_536;
/// Instances that called within the last minutes, each with its window of 8 KiB.
const SENDERS: usize = 512;
/// A call that is taken may be dated ahead by as much as it may be old: after twice that, none that came
/// before is taken any more, so that its sender's window can go.
const KEEP: Duration = FRESH.saturating_mul(2);

/// The numbers of all senders' calls to this instance. Its next run has another id, which calls are bound to.
#[derive(Default)]
pub struct Numbers(Mutex<HashMap<WriterId, Window>>);

/// Why a call is not taken. None of these proves that it was not carried out, when it came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It came before, or so long ago that this is not known any more.
    Again,
    /// Too many senders to remember another one.
    Busy,
}

impl Numbers {
    /// Takes a call that is known to be genuine and fresh.
    pub fn take(&self, sender: WriterId, number: u64, now: Instant) -> Result<(), NotTaken> {
        let mut senders = self.0.lock();
        if !senders.contains_key(&sender) && senders.len() >= SENDERS {
            senders.retain(|_, window| now.saturating_duration_since(window.last) < KEEP);
            if senders.len() >= SENDERS {
                return Err(NotTaken::Busy);
            }
        }
        let window = senders.entry(sender).or_insert_with(|| Window::new(now));
        window.last = now;
        if window.take(number) {
            Ok(())
        } else {
            Err(NotTaken::Again)
        }
    }
}

struct Window {
    highest: u64,
    /// Bit n mod `WIDTH` is of number n, for the `WIDTH` last ones.
    taken: Box<[u64]>,
    last: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            highest: 0,
            taken: vec![0; (WIDTH / 64) as usize].into(),
            last: now,
        }
    }

    fn take(&mut self, number: u64) -> bool {
        if number.saturating_add(WIDTH) <= self.highest {
            return false;
        }
        if number > self.highest {
            self.move_to(number);
        }
        let (word, bit) = place(number);
        let is_new = self.taken[word] & bit == 0;
        self.taken[word] |= bit;
        is_new
    }

    fn move_to(&mut self, number: u64) {
        if number - self.highest >= WIDTH {
            self.taken.fill(0);
        } else {
            for passed in self.highest + 1..=number {
                let (word, bit) = place(passed);
                self.taken[word] &= !bit;
            }
        }
        self.highest = number;
    }
}

/// Word and bit of a number.
fn place(number: u64) -> (usize, u64) {
    let place = number % WIDTH;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_in_any_order() {
        let (numbers, sender, now) = (Numbers::default(), WriterId::new_v7(), Instant::now());
        let take = |number| numbers.take(sender, number, now);
        for number in [5, 1, 0, 4, WIDTH + 3, 7, WIDTH + 2] {
            assert_eq!(take(number), Ok(()), "{number}");
            assert_eq!(take(number), Err(NotTaken::Again), "{number}");
        }
        // Of another sender it is another call.
        assert_eq!(numbers.take(WriterId::new_v7(), 5, now), Ok(()));
    }

    #[test]
    fn what_is_too_far_back_is_not_taken() {
        let (numbers, sender, now) = (Numbers::default(), WriterId::new_v7(), Instant::now());
        let take = |number| numbers.take(sender, number, now);
        assert_eq!(take(3 * WIDTH), Ok(()));
        assert_eq!(take(2 * WIDTH), Err(NotTaken::Again));
        assert_eq!(take(2 * WIDTH + 1), Ok(()));
        assert_eq!(take(2 * WIDTH + 1), Err(NotTaken::Again));
        // The window went round: its bits are of other numbers now.
        assert_eq!(take(3 * WIDTH + 1), Ok(()));
        assert_eq!(take(u64::MAX), Ok(()));
        assert_eq!(take(3 * WIDTH + 2), Err(NotTaken::Again));
    }

    #[test]
    fn a_full_table_refuses_and_those_silent_for_long_make_room() {
        let (numbers, now) = (Numbers::default(), Instant::now());
        for _ in 0..SENDERS {
            assert_eq!(numbers.take(WriterId::new_v7(), 1, now), Ok(()));
        }
        let late = WriterId::new_v7();
        assert_eq!(numbers.take(late, 1, now), Err(NotTaken::Busy));
        assert_eq!(numbers.take(late, 1, now + KEEP), Ok(()));
    }
}
