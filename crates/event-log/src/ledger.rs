//! A ledger's aggregates in its owner's memory.

use std::ops::ControlFlow;

use domain::{catalog::Catalog, identifier::Identifier, user::User};
use schemas::{Event, Position, Stored};

use crate::aggregates::AggregateMap;

/// The aggregates of one ledger (or of the catalog, which is a ledger of its own).
#[derive(Default)]
pub struct Ledger {
    pub(crate) users: AggregateMap<User>,
    pub(crate) identifiers: AggregateMap<Identifier>,
    pub(crate) catalogs: AggregateMap<Catalog>,
}

impl Ledger {
    /// Takes in an event read from the log; `Break` if the entry is in use, which cannot be.
    pub(crate) fn replay(&self, stored: Stored<Event>, position: Position) -> ControlFlow<()> {
        match stored.data {
            Event::User(_) => self.users.replay(stored, position),
            Event::Identifier(_) => self.identifiers.replay(stored, position),
            Event::Catalog(_) => self.catalogs.replay(stored, position),
            Event::Log(_) => ControlFlow::Continue(()),
        }
    }
}
