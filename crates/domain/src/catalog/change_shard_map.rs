//! Change the shard map: where the rows of each ledger lie is one fact of the log, not what each
//! configuration makes of it. A ledger moves in three maps: a copy is filled on its new shard, the ledger is read
//! there and its former copy kept up, the former copy is left.

use std::collections::BTreeSet;

use schemas::catalog::{CatalogEvent, LedgerCopy, ShardMapChanged};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeShardMap {
    pub map: ShardMapChanged,
    /// How many the log has.
    pub ledgers: i32,
}

impl Decide<Catalog> for ChangeShardMap {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        let Self { map, ledgers } = self;
        check(&map, ledgers)?;
        let known = catalog.shard_map.as_ref();
        // Of services that start at once each brings the map.
        if known.is_some_and(|known| says_the_same(known, &map)) {
            return Ok(vec![]);
        }
        let last = known.map_or(0, |known| known.version);
        if last.checked_add(1) != Some(map.version) {
            let version = map.version;
            return Err(Error::NotTheNextShardMap { version, last });
        }
        match known {
            None => refuse_any(map.filling.iter().chain(&map.leaving))?,
            Some(known) => check_step(known, &map)?,
        }
        Ok(vec![CatalogEvent::ShardMapChanged(map)])
    }
}

fn says_the_same(known: &ShardMapChanged, map: &ShardMapChanged) -> bool {
    let version = known.version;
    *known
        == ShardMapChanged {
            version,
            ..map.clone()
        }
}

/// What any map must be.
fn check(map: &ShardMapChanged, ledgers: i32) -> Result<(), Error> {
    let placed = map.placement.len();
    if usize::try_from(ledgers) != Ok(placed) {
        return Err(Error::IncompleteShardMap { ledgers, placed });
    }
    let mut places = map.placement.iter().copied().enumerate();
    if let Some((ledger, shard)) = places.find(|(_, shard)| !(0..map.shards).contains(shard)) {
        return Err(Error::NoSuchShard { ledger, shard });
    }
    let mut seen = BTreeSet::new();
    let is_copy = |copy: &LedgerCopy| {
        let is_there = (0..ledgers).contains(&copy.ledger) && (0..map.shards).contains(&copy.shard);
        is_there && place(map, copy.ledger) != Some(copy.shard)
    };
    let mut copies = map.filling.iter().chain(&map.leaving);
    refuse_any(copies.find(|copy| !is_copy(copy) || !seen.insert(**copy)))
}

/// What the next map must be beside that.
fn check_step(known: &ShardMapChanged, map: &ShardMapChanged) -> Result<(), Error> {
    let (was, shards) = (known.shards, map.shards);
    if shards < was {
        return Err(Error::FewerShards { known: was, shards });
    }
    for (ledger, (&from, &to)) in (0..).zip(known.placement.iter().zip(&map.placement)) {
        if from == to {
            continue;
        }
        if !known.filling.contains(&LedgerCopy { ledger, shard: to }) {
            return Err(Error::NotFilled { ledger, shard: to });
        }
        if !map.leaving.contains(&LedgerCopy { ledger, shard: from }) {
            return Err(Error::NotKeptUp { ledger, shard: from });
        }
    }
    let was_there =
        |copy: &&LedgerCopy| known.leaving.contains(copy) || place(known, copy.ledger) == Some(copy.shard);
    refuse_any(map.leaving.iter().find(|copy| !was_there(copy)))?;
    // One that is still read would be emptied.
    refuse_any(map.filling.iter().find(was_there))
}

fn place(map: &ShardMapChanged, ledger: i32) -> Option<i32> {
    map.placement.get(usize::try_from(ledger).ok()?).copied()
}

fn refuse_any<'a>(copies: impl IntoIterator<Item = &'a LedgerCopy>) -> Result<(), Error> {
    match copies.into_iter().next() {
        None => Ok(()),
        Some(&LedgerCopy { ledger, shard }) => Err(Error::NotACopy { ledger, shard }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    fn map(version: i32, placement: [i32; 3], shards: i32) -> ShardMapChanged {
        ShardMapChanged {
            version,
            placement: placement.to_vec(),
            shards,
            ..ShardMapChanged::default()
        }
    }

    fn copy(ledger: i32, shard: i32) -> Vec<LedgerCopy> {
        vec![LedgerCopy { ledger, shard }]
    }

    /// Ledger 1 is being moved from shard 1 to shard 0.
    fn filling() -> ShardMapChanged {
        ShardMapChanged {
            filling: copy(1, 0),
            ..map(2, [0, 1, 0], 2)
        }
    }

    fn moved() -> ShardMapChanged {
        ShardMapChanged {
            leaving: copy(1, 1),
            ..map(3, [0, 0, 0], 2)
        }
    }

    fn change(map: ShardMapChanged) -> ChangeShardMap {
        ChangeShardMap { map, ledgers: 3 }
    }

    fn changed(map: ShardMapChanged) -> CatalogEvent {
        CatalogEvent::ShardMapChanged(map)
    }

    #[test]
    fn each_map_is_the_next() {
        let (first, second) = (map(1, [0, 1, 0], 2), filling());
        given([])
            .when(change(first.clone()))
            .then([changed(first.clone())]);
        given([changed(first.clone())])
            .when(change(second.clone()))
            .then([changed(second.clone())]);
        given([])
            .when(change(map(2, [0, 1, 0], 2)))
            .then_error(Error::NotTheNextShardMap { version: 2, last: 0 });
        for version in [-1, 0, 1, 3] {
            let other = ShardMapChanged {
                version,
                ..second.clone()
            };
            given([changed(first.clone())])
                .when(change(other))
                .then_error(Error::NotTheNextShardMap { version, last: 1 });
        }
    }

    #[test]
    fn the_same_map_again_is_no_change() {
        for version in [1, 2] {
            given([changed(map(1, [0, 1, 0], 2))])
                .when(change(map(version, [0, 1, 0], 2)))
                .then_nothing();
        }
        // A shard without any ledger is one more shard all the same.
        let more = map(2, [0, 1, 0], 3);
        given([changed(map(1, [0, 1, 0], 2))])
            .when(change(more.clone()))
            .then([changed(more)]);
    }

    #[test]
    fn every_ledger_lies_on_a_shard_that_exists() {
        for ledgers in [2, 4, -1] {
            let map = map(1, [0, 1, 0], 2);
            given([])
                .when(ChangeShardMap { map, ledgers })
                .then_error(Error::IncompleteShardMap { ledgers, placed: 3 });
        }
        for shard in [-1, 2] {
            given([])
                .when(change(map(1, [0, shard, 1], 2)))
                .then_error(Error::NoSuchShard { ledger: 1, shard });
        }
    }

    #[test]
    fn a_ledger_moves_in_three_maps() {
        let first = map(1, [0, 1, 0], 2);
        let left = map(4, [0, 0, 0], 2);
        let mut history = vec![changed(first)];
        for next in [filling(), moved(), left] {
            given(history.clone())
                .when(change(next.clone()))
                .then([changed(next.clone())]);
            history.push(changed(next));
        }
    }

    #[test]
    fn a_move_that_is_not_to_be_goes_back_to_one_copy() {
        let back = map(3, [0, 1, 0], 2);
        given([changed(map(1, [0, 1, 0], 2)), changed(filling())])
            .when(change(back.clone()))
            .then([changed(back)]);
    }

    #[test]
    fn nothing_moves_to_where_no_copy_is() {
        let at_once = ShardMapChanged {
            leaving: copy(1, 1),
            ..map(2, [0, 0, 0], 2)
        };
        given([changed(map(1, [0, 1, 0], 2))])
            .when(change(at_once))
            .then_error(Error::NotFilled { ledger: 1, shard: 0 });
    }

    #[test]
    fn a_former_copy_is_kept_up_for_those_who_read_it() {
        let frozen = map(3, [0, 0, 0], 2);
        given([changed(map(1, [0, 1, 0], 2)), changed(filling())])
            .when(change(frozen))
            .then_error(Error::NotKeptUp { ledger: 1, shard: 1 });
        // Filled anew, it would be emptied before that.
        let again = ShardMapChanged {
            filling: copy(1, 1),
            ..map(4, [0, 0, 0], 2)
        };
        given([
            changed(map(1, [0, 1, 0], 2)),
            changed(filling()),
            changed(moved()),
        ])
        .when(change(again))
        .then_error(Error::NotACopy { ledger: 1, shard: 1 });
    }

    #[test]
    fn a_copy_is_of_a_ledger_on_a_shard_that_is_not_its_place() {
        let first = || [changed(map(1, [0, 1, 0], 2))];
        for (ledger, shard) in [(0, 0), (3, 0), (-1, 0), (1, 2), (1, -1)] {
            let map = ShardMapChanged {
                filling: copy(ledger, shard),
                ..map(2, [0, 1, 0], 2)
            };
            given(first())
                .when(change(map))
                .then_error(Error::NotACopy { ledger, shard });
        }
        let invented = ShardMapChanged {
            leaving: copy(1, 0),
            ..map(2, [0, 1, 0], 2)
        };
        given(first())
            .when(change(invented))
            .then_error(Error::NotACopy { ledger: 1, shard: 0 });
        let twice = ShardMapChanged {
            leaving: copy(1, 0),
            ..filling()
        };
        given(first())
            .when(change(twice))
            .then_error(Error::NotACopy { ledger: 1, shard: 0 });
        let begun = ShardMapChanged {
            filling: copy(1, 0),
            ..map(1, [0, 1, 0], 2)
        };
        given([])
            .when(change(begun))
            .then_error(Error::NotACopy { ledger: 1, shard: 0 });
    }

    #[test]
    fn shards_do_not_vanish() {
        given([changed(map(1, [0, 0, 0], 2))])
            .when(change(map(2, [0, 0, 0], 1)))
            .then_error(Error::FewerShards { known: 2, shards: 1 });
    }
}
