//! Which shard holds a ledger.

use schemas::catalog::ShardMapChanged;
use sha2::{Digest, Sha256};

use crate::Error;

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

    pub fn placement(&self, ledgers: i32) -> Placement {
        Placement {
            of_ledgers: (0..ledgers).map(|ledger| self.shard_of(ledger)).collect(),
            shards: i32::try_from(self.shards.len()).unwrap_or(i32::MAX),
        }
    }
}

/// Where every ledger lies by the configuration, to compare with what the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    of_ledgers: Vec<ShardId>,
    shards: i32,
}

impl Placement {
    /// As a log without any map records it.
    pub fn first_map(&self) -> ShardMapChanged {
        ShardMapChanged {
            version: 1,
            placement: self.of_ledgers.clone(),
            shards: self.shards,
        }
    }

    /// Refuses a configuration that differs: its rows would be frozen copies, or none at all. A log
    /// without a map fits every configuration.
    pub fn check(&self, recorded: Option<&ShardMapChanged>) -> Result<(), Error> {
        let Some(recorded) = recorded else { return Ok(()) };
        let version = recorded.version;
        if recorded.shards != self.shards {
            return Err(Error::ShardCount {
                version,
                recorded: recorded.shards,
                configured: self.shards,
            });
        }
        let both = recorded.placement.iter().zip(&self.of_ledgers);
        match (0..).zip(both).find(|(_, (recorded, own))| recorded != own) {
            None => Ok(()),
            Some((ledger, (&recorded, &configured))) => Err(Error::Misplaced {
                version,
                ledger,
                recorded,
                configured,
            }),
        }
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

    #[test]
    fn only_the_recorded_placement_fits() {
        let placement = ShardMap::new(0..2).placement(4);
        let recorded = placement.first_map();
        let refusal = |map: &ShardMapChanged| placement.check(Some(map)).unwrap_err().to_string();
        placement.check(None).unwrap();
        placement.check(Some(&recorded)).unwrap();
        let fewer = ShardMap::new(0..1).placement(4).first_map();
        assert_eq!(
            refusal(&fewer),
            "shard map 1 of the log has 1 shards, the configuration has 2"
        );
        let mut moved = ShardMapChanged {
            version: 2,
            ..recorded
        };
        let configured = moved.placement[3];
        moved.placement[3] = 1 - configured;
        assert_eq!(
            refusal(&moved),
            format!(
                "shard map 2 of the log has ledger 3 on shard {}, the configuration has it on shard {configured}",
                1 - configured
            )
        );
    }

    const FROZEN: [ShardId; 16] = [9, 4, 2, 9, 1, 14, 7, 5, 9, 2, 6, 7, 14, 0, 13, 6];
}
