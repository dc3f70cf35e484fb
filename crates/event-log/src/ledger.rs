//! A ledger's aggregates in its owner's memory.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cqrs_es::Aggregate;
use domain::{catalog::Catalog, identifier::Identifier, user::User};
use parking_lot::Mutex;
use schemas::{Event, Position, Stored};

use crate::aggregate::LedgerAggregate;
use crate::entry::Entry;

/// Aggregates by id. Each has a lock of its own, held from deciding to committed: an aggregate
/// takes one command at a time, and nothing is decided on uncommitted state.
pub struct AggregateMap<A: Aggregate>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Entry<A>>>>>);

impl<A: Aggregate> Default for AggregateMap<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: LedgerAggregate> AggregateMap<A> {
    pub(crate) fn entry(&self, id: &str) -> Arc<tokio::sync::Mutex<Entry<A>>> {
        let mut map = self.0.lock();
        match map.get(id) {
            Some(entry) => Arc::clone(entry),
            None => Arc::clone(map.entry(id.to_owned()).or_default()),
        }
    }

    /// Without making one: looking must not fill the memory.
    pub(crate) fn existing(&self, id: &str) -> Option<Arc<tokio::sync::Mutex<Entry<A>>>> {
        self.0.lock().get(id).map(Arc::clone)
    }

    /// Ids and states of those that `wanted` says yes to, and how many were passed over since they run
    /// a command at this moment.
    pub(crate) fn at_rest(&self, wanted: impl Fn(&A) -> bool) -> (Vec<(String, A)>, usize) {
        let map = self.0.lock();
        let (mut chosen, mut busy) = (Vec::new(), 0);
        for (id, entry) in map.iter() {
            match entry.try_lock() {
                Ok(entry) if wanted(&entry.aggregate) => chosen.push((id.clone(), entry.aggregate.clone())),
                Ok(_) => {}
                Err(_) => busy += 1,
            }
        }
        (chosen, busy)
    }

    /// Lets go of an aggregate that never came to be: commands to made-up ids must not fill the
    /// memory. Under the map's lock nobody can begin to use it.
    pub(crate) fn forget_unborn(&self, id: &str) {
        let mut map = self.0.lock();
        let unborn = map.get(id).is_some_and(|entry| {
            Arc::strong_count(entry) == 1 && entry.try_lock().is_ok_and(|entry| entry.sequence == 0)
        });
        if unborn {
            map.remove(id);
        }
    }

    fn replay(&self, stored: Stored<Event>, position: Position) -> ControlFlow<()> {
        let id = stored.meta.aggregate_id.clone();
        let Stored { meta, data } = stored;
        let (Some(data), entry) = (A::unwrap(data), self.entry(&id)) else {
            return ControlFlow::Break(());
        };
        // Only a ledger not served yet is replayed into, so nobody else holds the lock.
        match entry.try_lock() {
            Ok(mut entry) => {
                entry.replay(Stored { meta, data }, position);
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(()),
        }
    }
}

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
