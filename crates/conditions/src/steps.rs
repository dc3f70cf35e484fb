//! What an evaluation may cost, whatever the attributes.

use std::cell::Cell;

use crate::Fault;
use crate::limits::MAX_STEPS;

/// Bytes that are compared, searched or copied in one step.
const BYTES_A_STEP: usize = 64;

/// Steps that are left.
pub(crate) struct Steps(Cell<u32>);

impl Steps {
    pub fn all() -> Self {
        Self(Cell::new(MAX_STEPS))
    }

    /// # Errors
    /// Fewer are left.
    pub fn take(&self, number: u32) -> Result<(), Fault> {
        let left = self.0.get().checked_sub(number).ok_or(Fault::TooCostly)?;
        self.0.set(left);
        Ok(())
    }

    pub fn take_for_bytes(&self, bytes: usize) -> Result<(), Fault> {
        self.take(u32::try_from(bytes / BYTES_A_STEP).unwrap_or(u32::MAX))
    }
}
