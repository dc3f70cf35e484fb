//! What an owner knows of a partition's stored snapshot: enough to change it without reading it.

use super::seal::{Sealing, SnapshotKey, Sum};
use super::{IndexRow, Save, SnapshotPosition, StateRow};
use crate::group_log::Head;

/// A snapshot's index that its seal proves whole, and nothing but what an owner wrote.
pub(crate) struct Index {
    pub known: Known,
    pub rows: Vec<IndexRow>,
}

/// Why a stored snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its states are of version {found}, not {wanted}")]
    Version { found: i32, wanted: i32 },
    #[error("it has {found} rows, its position says {said}")]
    Count { found: usize, said: i64 },
    #[error("its seal is wrong: edited, or written under another key")]
    Seal,
}

impl Index {
    pub(crate) fn proven(
        key: &SnapshotKey,
        of: Sealing,
        position: &SnapshotPosition,
        rows: Vec<IndexRow>,
    ) -> Result<Self, Unusable> {
        if position.state_version != of.state_version {
            return Err(Unusable::Version {
                found: position.state_version,
                wanted: of.state_version,
            });
        }
        if i64::try_from(rows.len()) != Ok(position.rows) {
            return Err(Unusable::Count {
                found: rows.len(),
                said: position.rows,
            });
        }
        let mut sum = Sum::default();
        for row in &rows {
            sum.add(key.member(of, &row.id, row.sequence, row.pinned));
        }
        if !key.is_genuine_position(of, position, sum) {
            return Err(Unusable::Seal);
        }
        let known = Known {
            expected: Some(position.seal),
            replace: false,
            head: head_of(position),
            rows: position.rows,
            sum,
        };
        Ok(Self { known, rows })
    }
}

pub(crate) fn head_of(position: &SnapshotPosition) -> Head {
    Head {
        chain: position.chain,
        end: position.next_offset,
        last_at: position.last_at,
    }
}

/// What is stored, as far as its owner knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub expected: Option<[u8; 32]>,
    /// The rows that are there are of no use: the next save takes their place.
    pub replace: bool,
    pub head: Head,
    rows: i64,
    sum: Sum,
}

impl Known {
    /// Nothing of use is stored; `expected` is the seal of what is.
    pub(crate) fn nothing(expected: Option<[u8; 32]>) -> Self {
        Self {
            expected,
            replace: true,
            head: Head::START,
            rows: 0,
            sum: Sum::default(),
        }
    }

    /// A row is put in the place of what was there.
    pub(crate) fn put(&mut self, key: &SnapshotKey, of: Sealing, row: &IndexRow, old: Option<(i64, bool)>) {
        match old {
            Some((sequence, pinned)) => self.sum.subtract(key.member(of, &row.id, sequence, pinned)),
            None => self.rows += 1,
        }
        self.sum.add(key.member(of, &row.id, row.sequence, row.pinned));
    }

    /// The save that brings the store to here, from where `self` says it is; and what is known once it is done.
    pub(crate) fn save(
        self,
        next: Self,
        key: &SnapshotKey,
        of: Sealing,
        claim_offset: i64,
        rows: Vec<StateRow>,
    ) -> (Save, Self) {
        let mut position = SnapshotPosition {
            state_version: of.state_version,
            next_offset: next.head.end,
            chain: next.head.chain,
            last_at: next.head.last_at,
            claim_offset,
            rows: next.rows,
            seal: [0; 32],
        };
        position.seal = key.seal_position(of, &position, next.sum);
        let known = Self {
            expected: Some(position.seal),
            replace: false,
            ..next
        };
        let save = Save {
            expected: self.expected,
            replace: self.replace,
            rows,
            position,
        };
        (save, known)
    }
}
