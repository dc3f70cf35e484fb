//! Record how far the other topics have come, so that a later start sees what is missing.

use schemas::catalog::{CatalogEvent, ExtentRecorded, PartitionEnd};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordExtent {
    pub ends: Vec<PartitionEnd>,
}

impl Decide<Catalog> for RecordExtent {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        // Of two services that start at once the later may have looked first.
        let ends: Vec<PartitionEnd> = self.ends.into_iter().map(|end| catalog.furthest(end)).collect();
        if ends == catalog.extent {
            return Ok(vec![]);
        }
        Ok(vec![CatalogEvent::ExtentRecorded(ExtentRecorded { ends })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    fn ends(offsets: [i64; 2]) -> Vec<PartitionEnd> {
        let end = |(partition, next_offset)| PartitionEnd {
            topic: "users".to_owned(),
            partition,
            next_offset,
        };
        (0..).zip(offsets).map(end).collect()
    }

    fn recorded(offsets: [i64; 2]) -> CatalogEvent {
        CatalogEvent::ExtentRecorded(ExtentRecorded { ends: ends(offsets) })
    }

    #[test]
    fn what_was_reached_once_stays_reached() {
        let record = |offsets| RecordExtent { ends: ends(offsets) };
        given([]).when(record([3, 4])).then([recorded([3, 4])]);
        given([recorded([3, 4])]).when(record([3, 4])).then_nothing();
        given([recorded([3, 4])]).when(record([2, 4])).then_nothing();
        given([recorded([3, 4])])
            .when(record([2, 5]))
            .then([recorded([3, 5])]);
    }
}
