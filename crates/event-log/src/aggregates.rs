//! Aggregates of one kind in their owner's memory: those that are there, and which more are saved.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use cqrs_es::Aggregate;
use parking_lot::Mutex;
use schemas::{Position, Sha256Digest, Stored};
use uuid::Uuid;

use crate::aggregate::LedgerAggregate;
use crate::entry::Entry;
use crate::snapshots::IndexRow;

/// Aggregates by id. Each has a lock of its own, held from deciding to committed: an aggregate
/// takes one command at a time, and nothing is decided on uncommitted state.
pub struct AggregateMap<A: Aggregate>(Mutex<Slots<A>>);

pub(crate) type Shared<A> = Arc<tokio::sync::Mutex<Entry<A>>>;

struct Slots<A: Aggregate> {
    resident: HashMap<Arc<str>, Slot<A>>,
    /// All that have a row, in memory or not. The name is kept short: there are many.
    saved: HashMap<ShortId, Saved>,
    /// Those that may have to leave, each once, the next one first.
    queue: VecDeque<Arc<str>>,
}

struct Slot<A: Aggregate> {
    entry: Shared<A>,
    used: bool,
    queued: bool,
}

impl<A: Aggregate> Slot<A> {
    /// Whoever holds it has its state, or is about to.
    fn is_warm(&self) -> bool {
        self.entry.try_lock().map_or(true, |entry| !entry.is_absent())
    }
}

/// What a row holds: its sequence, and whether it is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Saved(i64);

impl Saved {
    fn new(sequence: i64, pinned: bool) -> Self {
        Self((sequence << 1) | i64::from(pinned))
    }

    fn sequence(self) -> i64 {
        self.0 >> 1
    }

    fn is_pinned(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Half of an id's digest; a UUID itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ShortId([u8; 16]);

impl ShortId {
    fn of(id: &str) -> Self {
        if let Ok(uuid) = Uuid::try_parse(id) {
            return Self(uuid.into_bytes());
        }
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256Digest::of(id.as_bytes()).0[..16]);
        Self(short)
    }
}

impl<A: Aggregate> Default for AggregateMap<A> {
    fn default() -> Self {
        Self(Mutex::new(Slots {
            resident: HashMap::new(),
            saved: HashMap::new(),
            queue: VecDeque::new(),
        }))
    }
}

impl<A: Aggregate> Slots<A> {
    fn get(&mut self, id: &str) -> Option<Shared<A>> {
        let slot = self.resident.get_mut(id)?;
        slot.used = true;
        Some(Arc::clone(&slot.entry))
    }

    fn make(&mut self, id: &str) -> Shared<A> {
        let saved = self.saved.get(&ShortId::of(id)).copied();
        let entry = saved.map_or_else(Entry::default, |saved| Entry::absent(saved.sequence()));
        self.insert(id, entry, saved.is_some())
    }

    fn insert(&mut self, id: &str, entry: Entry<A>, queued: bool) -> Shared<A> {
        let (id, entry) = (Arc::<str>::from(id), Arc::new(tokio::sync::Mutex::new(entry)));
        if queued {
            self.queue.push_back(Arc::clone(&id));
        }
        let slot = Slot {
            entry: Arc::clone(&entry),
            used: true,
            queued,
        };
        self.resident.insert(id, slot);
        entry
    }
}

impl<A: LedgerAggregate> AggregateMap<A> {
    pub(crate) fn entry(&self, id: &str) -> Shared<A> {
        let mut slots = self.0.lock();
        slots.get(id).unwrap_or_else(|| slots.make(id))
    }

    /// Without making one that there never was: looking must not fill the memory.
    pub(crate) fn existing(&self, id: &str) -> Option<Shared<A>> {
        let mut slots = self.0.lock();
        slots.get(id).or_else(|| {
            let is_saved = slots.saved.contains_key(&ShortId::of(id));
            is_saved.then(|| slots.make(id))
        })
    }

    /// Ids and states of those that `wanted` says yes to, and how many were passed over since they run
    /// a command at this moment. Of those in memory: `wanted` asks for pinned ones.
    pub(crate) fn at_rest(&self, wanted: impl Fn(&A) -> bool) -> (Vec<(String, A)>, usize) {
        let slots = self.0.lock();
        let (mut chosen, mut busy) = (Vec::new(), 0);
        for (id, slot) in &slots.resident {
            match slot.entry.try_lock() {
                Ok(entry) if wanted(&entry.aggregate) => {
                    chosen.push((id.to_string(), entry.aggregate.clone()));
                }
                Ok(_) => {}
                Err(_) => busy += 1,
            }
        }
        (chosen, busy)
    }

    /// Lets go of an aggregate that never came to be: commands to made-up ids must not fill the
    /// memory. Under the map's lock nobody can begin to use it.
    pub(crate) fn forget_unborn(&self, id: &str) {
        let mut slots = self.0.lock();
        let unborn = slots.resident.get(id).is_some_and(|slot| {
            !slot.queued
                && Arc::strong_count(&slot.entry) == 1
                && slot.entry.try_lock().is_ok_and(|entry| entry.is_unborn())
        });
        if unborn {
            slots.resident.remove(id);
        }
    }

    pub(crate) fn replay(&self, stored: Stored<schemas::Event>, position: Position) -> ControlFlow<()> {
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

    /// From now on these rows are what is saved.
    pub(crate) fn index(&self, rows: &[IndexRow]) {
        let saved = rows
            .iter()
            .map(|row| (ShortId::of(&row.id), Saved::new(row.sequence, row.pinned)))
            .collect();
        self.0.lock().saved = saved;
    }

    /// Compares rows with what is remembered of them: gives those in memory whose row is another one, which
    /// are to be saved again. `None` where one that is not in memory has another row: its state is lost.
    pub(crate) fn compare(&self, rows: &[IndexRow]) -> Option<Vec<String>> {
        let slots = self.0.lock();
        let found: HashMap<ShortId, Saved> = rows
            .iter()
            .map(|row| (ShortId::of(&row.id), Saved::new(row.sequence, row.pinned)))
            .collect();
        let mut warm = HashSet::new();
        let mut stale = Vec::new();
        for (id, _) in slots.resident.iter().filter(|(_, slot)| slot.is_warm()) {
            let short = ShortId::of(id);
            if slots.saved.get(&short) != found.get(&short) {
                stale.push(id.to_string());
            }
            warm.insert(short);
        }
        let is_same = |short: &ShortId| warm.contains(short) || slots.saved.get(short) == found.get(short);
        let all_same = slots.saved.keys().all(is_same) && found.keys().all(is_same);
        all_same.then_some(stale)
    }

    /// Sequence and pin of the row that is saved.
    pub(crate) fn saved(&self, id: &str) -> Option<(i64, bool)> {
        let slots = self.0.lock();
        let saved = slots.saved.get(&ShortId::of(id))?;
        Some((saved.sequence(), saved.is_pinned()))
    }

    /// A row was saved: the aggregate may leave memory from now on.
    pub(crate) fn was_saved(&self, row: &IndexRow) {
        let mut slots = self.0.lock();
        slots
            .saved
            .insert(ShortId::of(&row.id), Saved::new(row.sequence, row.pinned));
        let Some((id, _)) = slots.resident.get_key_value(row.id.as_str()) else {
            return;
        };
        let id = Arc::clone(id);
        if let Some(slot) = slots.resident.get_mut(&id)
            && !slot.queued
        {
            slot.queued = true;
            slots.queue.push_back(id);
        }
    }

    /// How many are in memory, and how many are saved.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let slots = self.0.lock();
        (slots.resident.len(), slots.saved.len())
    }

    /// Those in use or wanted whose state is not in memory.
    pub(crate) fn absent(&self) -> Vec<String> {
        let slots = self.0.lock();
        let absent = slots.resident.iter().filter(|(_, slot)| !slot.is_warm());
        absent.map(|(id, _)| id.to_string()).collect()
    }

    /// One in memory; looking at it is not using it.
    pub(crate) fn present(&self, id: &str) -> Option<Shared<A>> {
        let slots = self.0.lock();
        slots.resident.get(id).map(|slot| Arc::clone(&slot.entry))
    }

    /// Of those in memory.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().resident.keys().map(ToString::to_string).collect()
    }

    /// Lets go of this many that nobody uses and whose rows have all of them, those not used for long first.
    pub(crate) fn evict(&self, count: usize) -> usize {
        let mut slots = self.0.lock();
        let mut evicted = 0;
        // Bounded, as everybody waits meanwhile; the next round goes on from here.
        for _ in 0..slots.queue.len().min(count.saturating_mul(2) + 64) {
            if evicted == count {
                break;
            }
            let Some(id) = slots.queue.pop_front() else { break };
            if slots.may_leave(&id) {
                slots.resident.remove(&id);
                evicted += 1;
            } else if slots.resident.contains_key(&id) {
                slots.queue.push_back(id);
            }
        }
        if slots.resident.capacity() > 4 * slots.resident.len() + 1_024 {
            slots.resident.shrink_to_fit();
            slots.queue.shrink_to_fit();
        }
        evicted
    }

    /// Takes in what was read from the log, unless it is in memory meanwhile: then that is newer.
    pub(crate) fn restore(&self, id: &str, entry: Entry<A>) {
        let mut slots = self.0.lock();
        match slots.resident.get(id).map(|slot| Arc::clone(&slot.entry)) {
            None => drop(slots.insert(id, entry, true)),
            Some(shared) => {
                // One who holds it is about to fill it, from the same events.
                if let Ok(mut present) = shared.try_lock()
                    && present.is_absent()
                {
                    *present = entry;
                }
            }
        }
    }

    /// Whether its state is in memory, or about to be.
    pub(crate) fn is_warm(&self, id: &str) -> bool {
        self.0.lock().resident.get(id).is_some_and(Slot::is_warm)
    }
}

impl<A: LedgerAggregate> Slots<A> {
    fn may_leave(&mut self, id: &str) -> bool {
        let saved = self.saved.get(&ShortId::of(id)).copied();
        let Some(slot) = self.resident.get_mut(id) else {
            return false;
        };
        if std::mem::take(&mut slot.used) || Arc::strong_count(&slot.entry) > 1 {
            return false;
        }
        let entry = slot.entry.try_lock();
        entry.is_ok_and(|entry| match saved {
            Some(saved) => {
                !saved.is_pinned() && entry.is_saved_at(saved.sequence()) && !entry.aggregate.has_unwritten()
            }
            None => false,
        })
    }
}
