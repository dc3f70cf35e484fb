//! Which shard holds a ledger.

use sha2::{Digest, Sha256};

/// Number of a shard; `users.shard_id` and the look-up tables hold it.
pub type ShardId = i32;

/// Rendezvous hashing: each ledger goes to the shard with the highest weight for it, so a new
/// shard takes ledgers from the others and moves none between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    shards: Vec<ShardId>,
}

impl ShardMap {
    /// # Panics
    /// Without any shard.
    pub fn new(shards: impl IntoIterator<Item = ShardId>) -> Self {
        let shards: Vec<ShardId> = shards.into_iter().collect();
        assert!(!shards.is_empty(), "a shard map needs a shard");
        Self { shards }
    }

    pub fn shard_of(&self, ledger: i32) -> ShardId {
        let heaviest = self
            .shards
            .iter()
            .copied()
            .max_by_key(|&shard| (weight(ledger, shard), shard));
        heaviest.unwrap_or_else(|| unreachable!("a shard map has a shard"))
    }

    /// Ledgers of `0..ledgers` that lie on `shard`.
    pub fn ledgers_of(&self, shard: ShardId, ledgers: i32) -> Vec<i32> {
        (0..ledgers)
            .filter(|&ledger| self.shard_of(ledger) == shard)
            .collect()
    }

    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }
}

/// Part of the contract with the data already placed: never change it.
fn weight(ledger: i32, shard: ShardId) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(b"rolecall shard");
    hasher.update(ledger.to_be_bytes());
    hasher.update(shard.to_be_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    digest
        .iter()
        .take(8)
        .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_new_shard_only_takes(ids in prop::collection::btree_set(0..1000, 2..32usize), ledgers in 1..256) {
            let ids: Vec<_> = ids.into_iter().collect();
            let (new, old) = ids.split_last().unwrap();
            let before = ShardMap::new(old.iter().copied());
            let after = ShardMap::new(ids.iter().copied());
            for ledger in 0..ledgers {
                let now = after.shard_of(ledger);
                prop_assert!(now == before.shard_of(ledger) || now == *new);
            }
        }

        #[test]
        fn the_order_of_shards_does_not_matter(ids in prop::collection::vec(0..1000, 1..32), ledger in 0..256) {
            let unique: BTreeSet<_> = ids.iter().copied().collect();
            prop_assert_eq!(ShardMap::new(ids).shard_of(ledger), ShardMap::new(unique).shard_of(ledger));
        }
    }

    #[test]
    fn ledgers_spread() {
        let map = ShardMap::new(0..16);
        let counts: Vec<_> = (0..16).map(|shard| map.ledgers_of(shard, 1600).len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 1600);
        assert!(counts.iter().all(|&n| (60..140).contains(&n)), "{counts:?}");
    }

    #[test]
    fn placement_is_frozen() {
        let map = ShardMap::new(0..16);
        let placed: Vec<_> = (0..16).map(|ledger| map.shard_of(ledger)).collect();
        assert_eq!(placed, FROZEN);
    }

    const FROZEN: [ShardId; 16] = [9, 4, 2, 9, 1, 14, 7, 5, 9, 2, 6, 7, 14, 0, 13, 6];
}
