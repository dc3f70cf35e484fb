//! The maps by which ledgers move: each is the next of the one before.

use read_model::heaviest;
use schemas::catalog::{LedgerCopy, ShardMapChanged};

/// The shard of a ledger.
pub fn place(map: &ShardMapChanged, ledger: i32) -> Option<i32> {
    map.placement.get(usize::try_from(ledger).ok()?).copied()
}

/// Whether the map has a copy of the ledger there, read or not.
pub fn names(map: &ShardMapChanged, ledger: i32, shard: i32) -> bool {
    let copy = LedgerCopy { ledger, shard };
    place(map, ledger) == Some(shard) || map.filling.contains(&copy) || map.leaving.contains(&copy)
}

/// What shards that the map does not know yet, up to `shards` in all, take from the others.
pub fn share_of_new(map: &ShardMapChanged, shards: i32) -> Vec<LedgerCopy> {
    let heaviest = (0..).zip(&map.placement).map(|(ledger, _)| LedgerCopy {
        ledger,
        shard: heaviest(ledger, 0..shards),
    });
    heaviest.filter(|copy| copy.shard >= map.shards).collect()
}

/// Copies are filled there.
pub fn planned(map: &ShardMapChanged, moves: &[LedgerCopy], shards: i32) -> ShardMapChanged {
    let mut next = next(map);
    next.shards = next.shards.max(shards);
    let new = moves.iter().filter(|copy| !map.filling.contains(copy));
    next.filling.extend(new);
    next.filling.sort_unstable();
    next
}

/// They are read there, and the former copies kept up.
pub fn moved(map: &ShardMapChanged, moves: &[LedgerCopy]) -> ShardMapChanged {
    let mut next = next(map);
    for &LedgerCopy { ledger, shard } in moves {
        let places = usize::try_from(ledger).ok();
        let Some(place) = places.and_then(|index| next.placement.get_mut(index)) else {
            continue;
        };
        let former = std::mem::replace(place, shard);
        next.leaving.push(LedgerCopy {
            ledger,
            shard: former,
        });
    }
    next.leaving.sort_unstable();
    next.filling.retain(|copy| !moves.contains(copy));
    next
}

/// These former copies are kept up no more.
pub fn left(map: &ShardMapChanged, copies: &[LedgerCopy]) -> ShardMapChanged {
    let mut next = next(map);
    next.leaving.retain(|copy| !copies.contains(copy));
    next
}

/// These copies are filled no more.
pub fn abandoned(map: &ShardMapChanged, copies: &[LedgerCopy]) -> ShardMapChanged {
    let mut next = next(map);
    next.filling.retain(|copy| !copies.contains(copy));
    next
}

fn next(map: &ShardMapChanged) -> ShardMapChanged {
    ShardMapChanged {
        version: map.version.saturating_add(1),
        ..map.clone()
    }
}

#[cfg(test)]
mod tests {
    use domain::catalog::{Catalog, ChangeShardMap};
    use domain::{Context, Decide as _};
    use proptest::prelude::*;
    use read_model::ShardMap;
    use schemas::Timestamp;
    use schemas::catalog::CatalogEvent;

    use super::*;

    const LEDGERS: i32 = 16;

    fn accepted(catalog: &mut Catalog, map: &ShardMapChanged) -> Result<(), TestCaseError> {
        let command = ChangeShardMap {
            map: map.clone(),
            ledgers: LEDGERS,
        };
        let now = Context {
            now: Timestamp::from_micros(0),
        };
        let events = command.decide(catalog, &now);
        prop_assert_eq!(
            events.as_deref(),
            Ok(&[CatalogEvent::ShardMapChanged(map.clone())][..])
        );
        catalog.apply(&CatalogEvent::ShardMapChanged(map.clone()));
        Ok(())
    }

    proptest! {
        #[test]
        fn every_move_is_one_that_the_log_accepts(
            shards in 1..5i32, further in 0..3i32,
            wanted in prop::collection::btree_map(0..LEDGERS, 0..7i32, 1..8usize),
        ) {
            let mut catalog = Catalog::default();
            let first = ShardMap::new(0..shards).first_map(LEDGERS);
            accepted(&mut catalog, &first)?;
            let all = shards + further;
            let moves: Vec<_> = wanted
                .into_iter()
                .map(|(ledger, shard)| LedgerCopy { ledger, shard: shard % all })
                .filter(|copy| place(&first, copy.ledger) != Some(copy.shard))
                .collect();
            prop_assume!(!moves.is_empty());
            let plan = planned(&first, &moves, all);
            accepted(&mut catalog, &plan)?;
            let now = moved(&plan, &moves);
            accepted(&mut catalog, &now)?;
            for copy in &moves {
                prop_assert_eq!(place(&now, copy.ledger), Some(copy.shard));
            }
            let done = left(&now, &now.leaving);
            accepted(&mut catalog, &done)?;
            prop_assert!(done.filling.is_empty() && done.leaving.is_empty());
        }

        #[test]
        fn a_new_shard_takes_its_share_and_nothing_else_moves(shards in 1..8i32, further in 1..4i32) {
            let first = ShardMap::new(0..shards).first_map(LEDGERS);
            let all = shards + further;
            let done = moved(&planned(&first, &share_of_new(&first, all), all), &share_of_new(&first, all));
            prop_assert_eq!(done.placement, ShardMap::new(0..all).first_map(LEDGERS).placement);
        }
    }

    #[test]
    fn a_plan_that_is_given_up_leaves_everything_where_it_was() {
        let first = ShardMap::new(0..2).first_map(LEDGERS);
        let share = share_of_new(&first, 3);
        let plan = planned(&first, &share, 3);
        let back = abandoned(&plan, &share);
        assert_eq!((back.version, back.shards), (3, 3));
        assert_eq!((back.placement, back.filling), (first.placement, vec![]));
    }
}
