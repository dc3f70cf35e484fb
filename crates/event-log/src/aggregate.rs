//! What an aggregate must tell to live on a ledger.

#[cfg(test)]
pub(crate) mod saved_form;

use cqrs_es::Aggregate;
use domain::decider::Context;
use domain::{catalog::Catalog, identifier::Identifier, user::User};
use schemas::catalog::CatalogEvent;
use schemas::identifier::IdentifierEvent;
use schemas::user::UserEvent;
use schemas::{Event, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aggregates::AggregateMap;
use crate::ledger::Ledger;

/// An aggregate whose events stand in one stream of the log. Its commands, refusals and state travel between
/// instances, to and from the owner of its ledger.
pub trait LedgerAggregate:
    Aggregate<
        Services = Context,
        Command: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        Error: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        Event: Send + Sync + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    const STREAM: Stream;
    /// Of the state's form and meaning. Saved states of another version are not used, and the log is read
    /// instead: raise it when a state gets or loses something that former events decide. The form of each version is
    /// frozen in `golden/`.
    const STATE_VERSION: i32;

    /// Whether it has to stay in memory: somebody looks for all such.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Whether memory alone has something of it, which would be lost with it.
    fn has_unwritten(&self) -> bool {
        false
    }

    fn wrap(event: Self::Event) -> Event;
    fn unwrap(event: Event) -> Option<Self::Event>;
    #[doc(hidden)]
    fn map(ledger: &Ledger) -> &AggregateMap<Self>;
}

impl LedgerAggregate for User {
    const STREAM: Stream = Stream::Users;
    const STATE_VERSION: i32 = 6;

    /// Names that a fault left unreleased are looked for, and erasures that are not complete.
    fn is_pinned(&self) -> bool {
        !self.given_up.is_empty() || self.erasure_is_open()
    }

    fn has_unwritten(&self) -> bool {
        Self::has_unwritten(self)
    }

    fn wrap(event: UserEvent) -> Event {
        Event::User(event)
    }

    fn unwrap(event: Event) -> Option<UserEvent> {
        match event {
            Event::User(event) => Some(event),
            Event::Identifier(_) | Event::Catalog(_) | Event::Log(_) => None,
        }
    }

    fn map(ledger: &Ledger) -> &AggregateMap<Self> {
        &ledger.users
    }
}

impl LedgerAggregate for Identifier {
    const STREAM: Stream = Stream::Identifiers;
    const STATE_VERSION: i32 = 1;

    /// Reservations that a fault left behind are looked for.
    fn is_pinned(&self) -> bool {
        matches!(self, Self::Reserved { .. })
    }

    fn wrap(event: IdentifierEvent) -> Event {
        Event::Identifier(event)
    }

    fn unwrap(event: Event) -> Option<IdentifierEvent> {
        match event {
            Event::Identifier(event) => Some(event),
            Event::User(_) | Event::Catalog(_) | Event::Log(_) => None,
        }
    }

    fn map(ledger: &Ledger) -> &AggregateMap<Self> {
        &ledger.identifiers
    }
}

impl LedgerAggregate for Catalog {
    const STREAM: Stream = Stream::Catalog;
    const STATE_VERSION: i32 = 3;

    /// There is one, and everybody needs it.
    fn is_pinned(&self) -> bool {
        true
    }

    fn wrap(event: CatalogEvent) -> Event {
        Event::Catalog(event)
    }

    fn unwrap(event: Event) -> Option<CatalogEvent> {
        match event {
            Event::Catalog(event) => Some(event),
            Event::User(_) | Event::Identifier(_) | Event::Log(_) => None,
        }
    }

    fn map(ledger: &Ledger) -> &AggregateMap<Self> {
        &ledger.catalogs
    }
}
