//! An aggregate in its owner's memory, and what a command brings and gets back.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cqrs_es::Aggregate;
use schemas::{
    Actor, EventId, Idempotency, Meta, Position, RequestId, Stored, Timestamp, UserId, WrappedKey,
};
use serde::{Deserialize, Serialize};

/// A retried command finds its first answer this long.
const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// And among this many keyed commands of the aggregate.
const IDEMPOTENCY_ENTRIES: usize = 1_000;
/// An instance asks again no longer than a command may take.
const PASSING_WINDOW: Duration = Duration::from_secs(60);

/// Who asks, why, and relying on what. Serialisable, as it travels to the ledger's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandContext {
    pub actor: Actor,
    pub request_id: RequestId,
    pub causation_id: Option<EventId>,
    pub idempotency: Option<Idempotency>,
    /// Positions that the decision relied on.
    pub basis: Vec<Position>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// A new user's data key, stored in the transaction of its first event.
    pub new_data_key: Option<NewDataKey>,
}

/// A data key to store together with the user's first event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDataKey {
    pub user_id: UserId,
    pub wrapped: WrappedKey,
    pub key_encryption_key_id: String,
}

impl CommandContext {
    /// For what Rolecall does by itself.
    pub fn system(request_id: RequestId) -> Self {
        Self {
            actor: Actor::System,
            request_id,
            causation_id: None,
            idempotency: None,
            basis: Vec::new(),
            traceparent: None,
            new_data_key: None,
        }
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded<E> {
    pub meta: Meta,
    pub event: E,
    pub position: Position,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt<E> {
    /// What it recorded; empty when nothing had to change.
    pub records: Vec<Recorded<E>>,
    /// True when these are the events of an earlier try under the same idempotency key.
    pub replayed: bool,
    /// Position of the aggregate's last event: an answer that changed nothing still names what it
    /// was decided on.
    pub last: Option<Position>,
}

/// The aggregate's state after its last committed event.
pub struct Entry<A: Aggregate> {
    pub(crate) aggregate: A,
    pub(crate) sequence: i64,
    pub(crate) last: Option<Position>,
    /// The sequence as the writer sees it, which it checks before each append.
    pub(crate) version: Arc<AtomicI64>,
    keyed: VecDeque<Keyed<A::Event>>,
    /// Its state is saved and not here; everything above is empty, but for the version.
    absent: Option<Absent<A::Event>>,
}

/// What is known of an aggregate whose state is elsewhere.
struct Absent<E> {
    /// Of the saved state.
    sequence: i64,
    /// What the log has behind that.
    events: Vec<(Stored<E>, Position)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Keyed<E> {
    idempotency: Idempotency,
    at: Timestamp,
    records: Arc<[Recorded<E>]>,
}

/// An entry as a snapshot holds it; the sequence stands beside it.
#[derive(Serialize)]
struct Saved<'a, A: Aggregate> {
    aggregate: &'a A,
    last: Option<Position>,
    keyed: &'a VecDeque<Keyed<A::Event>>,
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct Loaded<A: Aggregate> {
    aggregate: A,
    last: Option<Position>,
    keyed: VecDeque<Keyed<A::Event>>,
}

impl<A: Aggregate> Default for Entry<A> {
    fn default() -> Self {
        Self {
            aggregate: A::default(),
            sequence: 0,
            last: None,
            version: Arc::default(),
            keyed: VecDeque::new(),
            absent: None,
        }
    }
}

impl<A: Aggregate> Entry<A> {
    /// One whose state is saved at this sequence.
    pub(crate) fn absent(sequence: i64) -> Self {
        Self {
            version: Arc::new(AtomicI64::new(sequence)),
            absent: Some(Absent {
                sequence,
                events: Vec::new(),
            }),
            ..Self::default()
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.absent.is_some()
    }

    /// No command ever recorded anything for it.
    pub(crate) fn is_unborn(&self) -> bool {
        self.sequence == 0 && self.absent.is_none()
    }

    /// The sequences that a state may have to be this aggregate's: the saved one, and up to the last that is known.
    pub(crate) fn absence(&self) -> Option<RangeInclusive<i64>> {
        let absent = self.absent.as_ref()?;
        Some(absent.sequence..=self.version.load(Ordering::Acquire))
    }

    /// The same while its former owner may still serve, and save: nothing is too new.
    pub(crate) fn absence_from(&self) -> Option<RangeInclusive<i64>> {
        let absent = self.absent.as_ref()?;
        Some(absent.sequence..=i64::MAX)
    }

    /// A row of this sequence has all of it.
    pub(crate) fn is_saved_at(&self, sequence: i64) -> bool {
        match &self.absent {
            Some(absent) => absent.sequence == sequence && absent.events.is_empty(),
            None => self.sequence == sequence && self.is_settled(),
        }
    }

    /// Its state is saved, and nothing is known behind that.
    pub(crate) fn is_saved_absent(&self) -> bool {
        self.absent
            .as_ref()
            .is_some_and(|absent| absent.events.is_empty())
    }

    /// It has everything that was committed for it.
    pub(crate) fn is_settled(&self) -> bool {
        self.absent.is_none() && self.version.load(Ordering::Acquire) == self.sequence
    }

    /// As a snapshot holds it.
    pub(crate) fn to_state(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Saved {
            aggregate: &self.aggregate,
            last: self.last,
            keyed: &self.keyed,
        })
    }

    /// Takes its saved state in, and what came behind it.
    pub(crate) fn fill(&mut self, sequence: i64, state: &[u8]) -> serde_json::Result<()> {
        let loaded: Loaded<A> = serde_json::from_slice(state)?;
        let events = self.absent.take().map(|it| it.events).unwrap_or_default();
        self.aggregate = loaded.aggregate;
        self.sequence = sequence;
        self.last = loaded.last;
        self.keyed = loaded.keyed;
        self.version.store(sequence, Ordering::Release);
        for (stored, position) in events {
            self.replay(stored, position);
        }
        Ok(())
    }

    /// Takes its whole history in, in place of a saved state. False where that is not all of it.
    pub(crate) fn fill_from_log(&mut self, history: Vec<(Stored<A::Event>, Position)>) -> bool {
        let mut whole = Self::default();
        for (sequence, (stored, position)) in (1..).zip(history) {
            if stored.meta.sequence != sequence {
                return false;
            }
            whole.replay(stored, position);
        }
        // The log may be ahead of what is known: the former owner still writes.
        if whole.sequence < self.version.load(Ordering::Acquire) {
            return false;
        }
        self.version.store(whole.sequence, Ordering::Release);
        // Appends hold on to the version.
        whole.version = Arc::clone(&self.version);
        *self = whole;
        true
    }

    /// Takes in an event read from the log. What a saved state has already changes nothing.
    pub(crate) fn replay(&mut self, stored: Stored<A::Event>, position: Position) {
        if stored.meta.sequence <= self.version.load(Ordering::Acquire) {
            return;
        }
        if let Some(absent) = &mut self.absent {
            self.version.store(stored.meta.sequence, Ordering::Release);
            absent.events.push((stored, position));
            return;
        }
        self.aggregate.apply(stored.data.clone());
        self.version.store(stored.meta.sequence, Ordering::Release);
        self.note(vec![Recorded {
            meta: stored.meta,
            event: stored.data,
            position,
        }]);
    }

    /// Takes in what was just committed; `aggregate` has the events applied already.
    pub(crate) fn committed(&mut self, aggregate: A, records: Vec<Recorded<A::Event>>) {
        self.aggregate = aggregate;
        self.note(records);
    }

    /// As [`Self::committed`], of a command without an idempotency key: nothing is kept for whoever asks again.
    pub(crate) fn committed_unkeyed(&mut self, aggregate: A, last: &Meta, position: Position) {
        self.aggregate = aggregate;
        self.sequence = last.sequence;
        self.last = Some(position);
    }

    fn note(&mut self, records: Vec<Recorded<A::Event>>) {
        let Some(last) = records.last() else { return };
        self.sequence = last.meta.sequence;
        self.last = Some(last.position);
        let (at, keyed) = (last.meta.occurred_at, last.meta.idempotency);
        self.keyed.retain(|k| at.since(k.at) <= window(&k.idempotency));
        let Some(idempotency) = keyed else { return };
        // What instances ask for again must not take the room of what callers may come back for.
        let is_alike = |k: &Keyed<A::Event>| k.idempotency.is_passing() == idempotency.is_passing();
        if self.keyed.iter().filter(|k| is_alike(k)).count() >= IDEMPOTENCY_ENTRIES
            && let Some(oldest) = self.keyed.iter().position(is_alike)
        {
            self.keyed.remove(oldest);
        }
        match self.keyed.back_mut() {
            // A replayed command's further events belong to the same key.
            Some(back) if back.idempotency == idempotency => {
                back.records = back.records.iter().cloned().chain(records).collect();
            }
            _ => self.keyed.push_back(Keyed {
                idempotency,
                at,
                records: records.into(),
            }),
        }
    }

    /// The events of an earlier command under this key: `Err` when that was another request.
    pub(crate) fn find(
        &self,
        wanted: &Idempotency,
        now: Timestamp,
    ) -> Result<Option<Receipt<A::Event>>, KeyReused> {
        let live = |k: &&Keyed<A::Event>| {
            k.idempotency.key_digest == wanted.key_digest && now.since(k.at) <= window(&k.idempotency)
        };
        match self.keyed.iter().rev().find(live) {
            None => Ok(None),
            Some(found) if found.idempotency.request_digest == wanted.request_digest => Ok(Some(Receipt {
                records: found.records.to_vec(),
                replayed: true,
                last: found.records.last().map(|r| r.position),
            })),
            Some(_) => Err(KeyReused),
        }
    }
}

fn window(idempotency: &Idempotency) -> Duration {
    if idempotency.is_passing() {
        PASSING_WINDOW
    } else {
        IDEMPOTENCY_WINDOW
    }
}

/// An idempotency key came with another request than before.
#[derive(Debug)]
pub(crate) struct KeyReused;
