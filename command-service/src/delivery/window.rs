//! What is under way of a partition, and up to where everything has arrived.

use std::collections::BTreeSet;

/// Deliveries under way from which on the partition is not read on; a few more come, as they were read
/// already. One that does not arrive holds the position back, and with so many the reading: memory is bounded, and what
/// is read again after a crash.
const ROOM: usize = 256;
/// With no more than so many it is read on: stopping and going on has a price.
const ENOUGH: usize = ROOM - ROOM / 8;

pub(super) struct Window {
    under_way: BTreeSet<i64>,
    next: i64,
    is_paused: bool,
}

/// How the reading of a partition changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Pause,
    Resume,
}

impl Window {
    pub(super) const fn from(next: i64) -> Self {
        Self {
            under_way: BTreeSet::new(),
            next,
            is_paused: false,
        }
    }

    /// Told once: who asks is to do it.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        let (was_paused, under_way) = (self.is_paused, self.under_way.len());
        self.is_paused = if was_paused {
            under_way > ENOUGH
        } else {
            under_way >= ROOM
        };
        match (was_paused, self.is_paused) {
            (false, true) => Some(Turn::Pause),
            (true, false) => Some(Turn::Resume),
            (false, false) | (true, true) => None,
        }
    }

    pub(super) fn begin(&mut self, offset: i64) {
        self.under_way.insert(offset);
    }

    pub(super) fn arrived(&mut self, offset: i64) {
        self.under_way.remove(&offset);
    }

    /// Everything before it is read.
    pub(super) fn read(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// Everything before it has arrived.
    pub(super) fn position(&self) -> i64 {
        self.under_way.first().copied().unwrap_or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_waits_for_what_is_under_way() {
        let mut window = Window::from(5);
        window.begin(7);
        window.begin(9);
        window.read(10);
        assert_eq!(window.position(), 7);
        window.arrived(9);
        assert_eq!(window.position(), 7);
        window.arrived(7);
        assert_eq!(window.position(), 10);
        window.read(8);
        assert_eq!(window.position(), 10);
    }

    #[test]
    fn a_full_window_pauses_its_partition_until_there_is_room_again() {
        let mut window = Window::from(0);
        for offset in (0..).take(ROOM) {
            assert_eq!(window.turn(), None);
            window.begin(offset);
        }
        assert_eq!(window.turn(), Some(Turn::Pause));
        // What was read already still comes.
        window.begin(1_000);
        assert_eq!(window.turn(), None);
        window.arrived(1_000);
        for offset in (0..).take(ROOM - ENOUGH - 1) {
            window.arrived(offset);
        }
        assert_eq!(window.turn(), None);
        window.arrived(100);
        assert_eq!(window.turn(), Some(Turn::Resume));
        assert_eq!(window.turn(), None);
    }
}
