//! Change the shard map: where the rows of each ledger lie is one fact of the log, not what each
//! configuration makes of it.

use schemas::catalog::{CatalogEvent, ShardMapChanged};
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
        if known.is_some_and(|known| (known.shards, &known.placement) == (map.shards, &map.placement)) {
            return Ok(vec![]);
        }
        let last = known.map_or(0, |known| known.version);
        if last.checked_add(1) != Some(map.version) {
            let version = map.version;
            return Err(Error::NotTheNextShardMap { version, last });
        }
        Ok(vec![CatalogEvent::ShardMapChanged(map)])
    }
}

fn check(map: &ShardMapChanged, ledgers: i32) -> Result<(), Error> {
    let placed = map.placement.len();
    if usize::try_from(ledgers) != Ok(placed) {
        return Err(Error::IncompleteShardMap { ledgers, placed });
    }
    let mut places = map.placement.iter().copied().enumerate();
    match places.find(|(_, shard)| !(0..map.shards).contains(shard)) {
        Some((ledger, shard)) => Err(Error::NoSuchShard { ledger, shard }),
        None => Ok(()),
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
        let (first, second) = (map(1, [0, 1, 0], 2), map(2, [0, 1, 1], 2));
        given([])
            .when(change(first.clone()))
            .then([changed(first.clone())]);
        given([changed(first.clone())])
            .when(change(second.clone()))
            .then([changed(second.clone())]);
        given([])
            .when(change(second.clone()))
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
}
