//! Which shard holds a ledger, and which further copies there are while ledgers move.

use schemas::catalog::{LedgerCopy, ShardMapChanged};
use sha2::{Digest, Sha256};

/// Number of a shard; `users.shard_id` and the look-up tables hold it.
pub type ShardId = i32;

/// As the log says it; or, of a log without any map, as rendezvous hashing makes it: each ledger goes to the shard
/// with the highest weight for it, so a new shard takes ledgers from the others and moves none between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    shards: Vec<ShardId>,
    /// 0 where it is not the log's.
    version: i32,
    /// By ledger; empty where it is not the log's.
    placement: Vec<ShardId>,
    filling: Vec<LedgerCopy>,
    leaving: Vec<LedgerCopy>,
}

/// The ledgers that a projector keeps up on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// Read, by those who know the newest map or an older one.
    pub read: Vec<i32>,
    /// Read by nobody yet.
    pub filling: Vec<i32>,
}

impl Duty {
    pub fn ledgers(&self) -> impl Iterator<Item = i32> {
        self.read.iter().chain(&self.filling).copied()
    }
}

impl ShardMap {
    /// Of a log that has no map.
    ///
    /// # Panics
    /// Without any shard.
    pub fn new(shards: impl IntoIterator<Item = ShardId>) -> Self {
        let shards: Vec<ShardId> = shards.into_iter().collect();
        assert!(!shards.is_empty(), "a shard map needs a shard");
        Self {
            shards,
            version: 0,
            placement: Vec::new(),
            filling: Vec::new(),
            leaving: Vec::new(),
        }
    }

    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn shard_of(&self, ledger: i32) -> ShardId {
        let placed = usize::try_from(ledger)
            .ok()
            .and_then(|index| self.placement.get(index));
        placed
            .copied()
            .unwrap_or_else(|| heaviest(ledger, self.shards.iter().copied()))
    }

    /// Ledgers of `0..ledgers` that lie on `shard`.
    pub fn ledgers_of(&self, shard: ShardId, ledgers: i32) -> Vec<i32> {
        (0..ledgers)
            .filter(|&ledger| self.shard_of(ledger) == shard)
            .collect()
    }

    /// What is to be kept up on a shard, of `0..ledgers`.
    pub fn duty(&self, shard: ShardId, ledgers: i32) -> Duty {
        let mut read = self.ledgers_of(shard, ledgers);
        read.extend(copies_on(&self.leaving, shard));
        read.sort_unstable();
        let mut filling: Vec<i32> = copies_on(&self.filling, shard).collect();
        filling.sort_unstable();
        Duty { read, filling }
    }

    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }

    /// As a log without any map records it.
    pub fn first_map(&self, ledgers: i32) -> ShardMapChanged {
        ShardMapChanged {
            version: 1,
            placement: (0..ledgers).map(|ledger| self.shard_of(ledger)).collect(),
            shards: i32::try_from(self.shards.len()).unwrap_or(i32::MAX),
            ..ShardMapChanged::default()
        }
    }
}

impl From<&ShardMapChanged> for ShardMap {
    fn from(recorded: &ShardMapChanged) -> Self {
        Self {
            shards: (0..recorded.shards).collect(),
            version: recorded.version,
            placement: recorded.placement.clone(),
            filling: recorded.filling.clone(),
            leaving: recorded.leaving.clone(),
        }
    }
}

fn copies_on(copies: &[LedgerCopy], shard: ShardId) -> impl Iterator<Item = i32> {
    let on_it = copies.iter().filter(move |copy| copy.shard == shard);
    on_it.map(|copy| copy.ledger)
}

/// The shard of the highest weight for a ledger.
///
/// # Panics
/// Without any shard.
pub fn heaviest(ledger: i32, shards: impl IntoIterator<Item = ShardId>) -> ShardId {
    let heaviest = shards
        .into_iter()
        .max_by_key(|&shard| (weight(ledger, shard), shard));
    heaviest.unwrap_or_else(|| unreachable!("a shard map has a shard"))
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

    #[test]
    fn what_the_log_says_goes_before_the_hash() {
        let first = ShardMap::new(0..2).first_map(4);
        assert_eq!(
            ShardMap::from(&first).ledgers_of(0, 4),
            ShardMap::new(0..2).ledgers_of(0, 4)
        );
        let mut moved = ShardMapChanged {
            version: 2,
            shards: 3,
            ..first
        };
        let from = std::mem::replace(&mut moved.placement[3], 2);
        moved.leaving = vec![LedgerCopy {
            ledger: 3,
            shard: from,
        }];
        moved.filling = vec![LedgerCopy { ledger: 0, shard: 2 }];
        let map = ShardMap::from(&moved);
        assert_eq!(
            (map.version(), map.shards(), map.shard_of(3)),
            (2, &[0, 1, 2][..], 2)
        );
        assert!(
            map.duty(from, 4).read.contains(&3),
            "those who do not know the map read on"
        );
        assert_eq!(
            map.duty(2, 4),
            Duty {
                read: vec![3],
                filling: vec![0]
            }
        );
    }

    const FROZEN: [ShardId; 16] = [9, 4, 2, 9, 1, 14, 7, 5, 9, 2, 6, 7, 14, 0, 13, 6];
}
