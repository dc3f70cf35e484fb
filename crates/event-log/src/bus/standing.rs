//! What is served, by whom, and why not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::Stream;

use super::Bus;
use crate::group::{GroupStatus, Halt};

impl Bus {
    /// Partitions that nobody serves as far as is known here, and why this instance does not; and those that it
    /// could not serve when it last tried, even if another one does.
    pub fn not_serving(&self) -> Vec<((Stream, i32), GroupStatus)> {
        let groups = self.groups.load();
        let halted = self.halted.lock();
        let halted = halted
            .iter()
            .map(|(&place, halt)| (place, GroupStatus::Halted(halt.clone())));
        let mut waiting: BTreeMap<_, _> = halted.collect();
        for (&place, group) in groups.iter() {
            match &*group.status().borrow() {
                GroupStatus::Serving => drop(waiting.remove(&place)),
                // The former owner serves until this one is ready.
                GroupStatus::Claiming(None) | GroupStatus::GivenUp
                    if waiting.contains_key(&place) || self.owner_elsewhere(place).is_some() => {}
                status => drop(waiting.insert(place, status.clone())),
            }
        }
        waiting.into_iter().collect()
    }

    /// These partitions cannot be served here, for all that is known, until [`Self::note_service`].
    pub(crate) fn note_halt(&self, partitions: &[(Stream, i32)], halt: &Halt) {
        let halted = partitions.iter().map(|&place| (place, halt.clone()));
        self.halted.lock().extend(halted);
    }

    pub(crate) fn note_service(&self, partitions: &[(Stream, i32)]) {
        self.halted.lock().retain(|place, _| !partitions.contains(place));
    }

    /// Whether another instance owns it, by the log.
    pub fn is_served_elsewhere(&self, place: (Stream, i32)) -> bool {
        self.owner_elsewhere(place).is_some()
    }

    /// Partitions that this instance serves.
    pub fn serving(&self) -> Vec<(Stream, i32)> {
        let groups = self.groups.load();
        let serving = groups.iter().filter(|(_, group)| group.is_serving());
        let mut places: Vec<_> = serving.map(|(&place, _)| place).collect();
        places.sort_unstable();
        places
    }

    /// Whether every partition has an owner, here or elsewhere.
    pub fn is_owned(&self) -> bool {
        let ledgers = (0..self.ledgers).flat_map(|l| [(Stream::Users, l), (Stream::Identifiers, l)]);
        let groups = self.groups.load();
        ledgers.chain([(Stream::Catalog, 0)]).all(|place| {
            let here = groups.get(&place).is_some_and(|group| group.is_serving());
            here || self.owner_elsewhere(place).is_some()
        })
    }

    /// Aggregates of the groups here that changed since they were last saved, where they are saved at all. They cannot leave
    /// memory.
    pub fn unsaved(&self) -> usize {
        let groups: HashMap<_, _> = {
            let groups = self.groups.load();
            let named = groups
                .values()
                .map(|group| (Arc::as_ptr(group), Arc::clone(group)));
            named.collect()
        };
        let snapshots = groups.values().filter_map(|group| group.snapshots());
        snapshots.map(|snapshots| snapshots.marks().count()).sum()
    }

    /// Waits until every routed group serves or can never serve.
    pub async fn settled(&self) {
        let groups: Vec<_> = self.groups.load().values().cloned().collect();
        for group in groups {
            let mut status = group.status();
            // A dropped sender has left its last status behind.
            status
                .wait_for(|s| !matches!(s, GroupStatus::Claiming(_)))
                .await
                .ok();
        }
    }
}
