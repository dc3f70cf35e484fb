//! Seals: that a row, and the set of all rows, is as an owner wrote it.

use hmac::{Hmac, KeyInit, Mac};
use schemas::{LogId, Stream};
use sha2::Sha256;

use super::{IndexRow, Place, SnapshotPosition, StateRow};

/// Of what a seal is, so that one kind never passes for another.
#[derive(Clone, Copy)]
enum Kind {
    Row = 1,
    Member = 2,
    Position = 3,
}

/// Whose snapshot it is: part of every seal.
#[derive(Clone, Copy)]
pub(crate) struct Sealing {
    pub log_id: LogId,
    pub place: Place,
    pub state_version: i32,
}

/// The key of seals. Only owners have it, so who edits the store cannot make one.
#[derive(Clone)]
pub struct SnapshotKey(Hmac<Sha256>);

impl SnapshotKey {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key length")))
    }

    fn begin(&self, kind: Kind, of: Sealing) -> Hmac<Sha256> {
        let (stream, partition) = of.place;
        let stream = match stream {
            Stream::Users => 0,
            Stream::Identifiers => 1,
            Stream::Catalog => 2,
        };
        let mut mac = self.0.clone();
        mac.update(&[kind as u8, stream]);
        mac.update(&partition.to_be_bytes());
        mac.update(&of.state_version.to_be_bytes());
        mac.update(of.log_id.as_uuid().as_bytes());
        mac
    }

    fn of_row(&self, of: Sealing, kind: Kind, id: &str, sequence: i64, pinned: bool) -> Hmac<Sha256> {
        let mut mac = self.begin(kind, of);
        mac.update(&sequence.to_be_bytes());
        mac.update(&[u8::from(pinned)]);
        mac.update(&(id.len() as u64).to_be_bytes());
        mac.update(id.as_bytes());
        mac
    }

    /// Seals a state: that binds it to its aggregate and sequence.
    pub(crate) fn seal(&self, of: Sealing, row: IndexRow, state: Vec<u8>) -> StateRow {
        let IndexRow { id, sequence, pinned } = row;
        let mut mac = self.of_row(of, Kind::Row, &id, sequence, pinned);
        mac.update(&state);
        let seal = mac.finalize().into_bytes().into();
        StateRow {
            id,
            sequence,
            pinned,
            state,
            seal,
        }
    }

    pub(crate) fn is_genuine(&self, of: Sealing, row: &StateRow) -> bool {
        let mut mac = self.of_row(of, Kind::Row, &row.id, row.sequence, row.pinned);
        mac.update(&row.state);
        mac.verify_slice(&row.seal).is_ok()
    }

    /// What a row adds to the sum of all rows. The sum is never stored, only sealed.
    pub(crate) fn member(&self, of: Sealing, id: &str, sequence: i64, pinned: bool) -> Sum {
        let mac = self.of_row(of, Kind::Member, id, sequence, pinned);
        Sum::from_bytes(mac.finalize().into_bytes().into())
    }

    /// The seal of a position over rows that add up to `sum`.
    pub(crate) fn seal_position(&self, of: Sealing, position: &SnapshotPosition, sum: Sum) -> [u8; 32] {
        self.of_position(of, position, sum).finalize().into_bytes().into()
    }

    pub(crate) fn is_genuine_position(&self, of: Sealing, position: &SnapshotPosition, sum: Sum) -> bool {
        self.of_position(of, position, sum)
            .verify_slice(&position.seal)
            .is_ok()
    }

    fn of_position(&self, of: Sealing, position: &SnapshotPosition, sum: Sum) -> Hmac<Sha256> {
        let mut mac = self.begin(Kind::Position, of);
        for number in [
            position.next_offset,
            position.chain.next_seq,
            position.last_at.as_micros(),
            position.claim_offset,
            position.rows,
        ] {
            mac.update(&number.to_be_bytes());
        }
        mac.update(&position.chain.hash.0);
        for limb in sum.0 {
            mac.update(&limb.to_be_bytes());
        }
        mac
    }
}

/// Sum of rows, modulo 2^256: the same set of rows gives the same sum, in whatever order it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; 4]);

impl Sum {
    /// Lowest limb first.
    fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, part) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = part
                .iter()
                .fold(0, |number, &byte| (number << 8) | u64::from(byte));
        }
        Self(limbs)
    }

    pub(crate) fn add(&mut self, other: Self) {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            let (sum, one) = limb.overflowing_add(more);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, one || two);
        }
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (limb, less) in self.0.iter_mut().zip(other.0) {
            let (rest, one) = limb.overflowing_sub(less);
            let (rest, two) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, one || two);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_sum() -> impl Strategy<Value = Sum> {
        let limb = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
        prop::array::uniform4(limb).prop_map(Sum)
    }

    proptest! {
        #[test]
        fn what_was_added_can_be_taken_away_in_any_order(a in any_sum(), b in any_sum()) {
            let mut sum = Sum::default();
            sum.add(a);
            sum.add(b);
            sum.subtract(a);
            prop_assert_eq!(sum, b);
            sum.subtract(b);
            prop_assert_eq!(sum, Sum::default());
        }
    }
}
