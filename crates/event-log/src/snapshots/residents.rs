//! How many aggregates may stay in memory, of all groups of the process together.

use std::collections::HashMap;

use parking_lot::Mutex;

/// What each group has in memory, and how much all may have.
pub struct Residents {
    limit: usize,
    groups: Mutex<HashMap<i32, usize>>,
}

impl Residents {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            groups: Mutex::default(),
        }
    }

    /// Takes note of what a group has; gives how many of them it should let go: its share of what is too many.
    pub(crate) fn excess(&self, group: i32, resident: usize) -> usize {
        let mut groups = self.groups.lock();
        groups.insert(group, resident);
        let total: usize = groups.values().sum();
        match total.checked_sub(self.limit) {
            None | Some(0) => 0,
            Some(excess) => (excess * resident).div_ceil(total),
        }
    }

    /// A group that is no longer here.
    pub(crate) fn forget(&self, group: i32) {
        self.groups.lock().remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_let_go_by_what_they_have() {
        let residents = Residents::new(100);
        assert_eq!(residents.excess(0, 90), 0);
        assert_eq!(residents.excess(1, 60), 20);
        assert_eq!(residents.excess(0, 90), 30);
        residents.forget(1);
        assert_eq!(residents.excess(0, 90), 0);
    }
}
