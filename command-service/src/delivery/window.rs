//! What is under way of a partition, and up to where everything has arrived.

use std::collections::BTreeSet;

/// Deliveries under way at most. One that does not arrive holds the position back, and with so many the
/// reading: memory is bounded, and what is read again after a crash.
const ROOM: usize = 256;

pub(super) struct Window {
    under_way: BTreeSet<i64>,
    next: i64,
}

impl Window {
    pub(super) const fn from(next: i64) -> Self {
        Self {
            under_way: BTreeSet::new(),
            next,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < ROOM
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
    fn there_is_room_for_so_many_only() {
        let mut window = Window::from(0);
        for offset in (0..).take(ROOM) {
            assert!(window.has_room());
            window.begin(offset);
        }
        assert!(!window.has_room());
        window.arrived(3);
        assert!(window.has_room());
    }
}
