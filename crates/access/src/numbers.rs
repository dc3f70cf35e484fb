//! Small numbers for role ids, so that a check hashes no role id and a user takes few bytes.

use std::collections::HashMap;

use ids::RoleId;
use parking_lot::{RwLock, RwLockReadGuard};

/// The number of no role.
pub(crate) const NO_ROLE: u32 = u32::MAX;

/// Given in the order of asking and never taken back, to roles that no catalog knows as well: a grant may come before
/// its role. They mean something in this process alone.
#[derive(Debug, Default)]
pub struct RoleNumbers(RwLock<Table>);

#[derive(Debug, Default)]
pub(crate) struct Table {
    numbers: HashMap<RoleId, u32>,
    ids: Vec<RoleId>,
}

impl RoleNumbers {
    pub(crate) fn of(&self, id: RoleId) -> u32 {
        let known = self.0.read().numbers.get(&id).copied();
        known.unwrap_or_else(|| self.0.write().add(id))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read()
    }
}

impl Table {
    fn add(&mut self, id: RoleId) -> u32 {
        let Self { numbers, ids } = self;
        *numbers.entry(id).or_insert_with(|| {
            ids.push(id);
            // Four thousand million role ids do not fit into memory.
            u32::try_from(ids.len() - 1).unwrap_or(NO_ROLE)
        })
    }

    pub(crate) fn id(&self, number: u32) -> Option<RoleId> {
        self.ids.get(usize::try_from(number).ok()?).copied()
    }
}
