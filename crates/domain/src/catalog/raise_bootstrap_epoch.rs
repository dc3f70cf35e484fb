//! Raise the bootstrap epoch: the one way back in for whoever runs Rolecall. Once for each epoch an
//! administrator is named, whom a command service then registers.

use schemas::UserId;
use schemas::catalog::{BootstrapEpochRaised, CatalogEvent};
use serde::{Deserialize, Serialize};

use super::{Catalog, Error};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseBootstrapEpoch {
    pub epoch: i32,
    /// A new id. Of two services that raise the same epoch, one names the administrator.
    pub administrator: UserId,
}

impl Decide<Catalog> for RaiseBootstrapEpoch {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        if self.epoch <= catalog.bootstrap_epoch() {
            return Ok(vec![]);
        }
        Ok(vec![CatalogEvent::BootstrapEpochRaised(BootstrapEpochRaised {
            epoch: self.epoch,
            administrator: self.administrator,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, user};

    fn raise(epoch: i32, number: u128) -> RaiseBootstrapEpoch {
        RaiseBootstrapEpoch {
            epoch,
            administrator: user(number),
        }
    }

    fn raised(epoch: i32, number: u128) -> CatalogEvent {
        CatalogEvent::BootstrapEpochRaised(BootstrapEpochRaised {
            epoch,
            administrator: user(number),
        })
    }

    #[test]
    fn an_epoch_names_one_administrator() {
        given([]).when(raise(1, 7)).then([raised(1, 7)]);
        given([raised(1, 7)]).when(raise(1, 8)).then_nothing();
        let again = given([raised(1, 7)]).and(raise(1, 8));
        assert_eq!(again.state().bootstrap.map(|it| it.administrator), Some(user(7)));
    }

    #[test]
    fn only_a_higher_epoch_counts() {
        given([]).when(raise(0, 7)).then_nothing();
        given([raised(4, 7)]).when(raise(3, 8)).then_nothing();
        given([raised(4, 7)]).when(raise(9, 8)).then([raised(9, 8)]);
    }
}
