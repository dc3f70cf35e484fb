//! An aggregate in its owner's memory, and what a command brings and gets back.

use std::collections::VecDeque;
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
}

struct Keyed<E> {
    idempotency: Idempotency,
    at: Timestamp,
    records: Arc<[Recorded<E>]>,
}

impl<A: Aggregate> Default for Entry<A> {
    fn default() -> Self {
        Self {
            aggregate: A::default(),
            sequence: 0,
            last: None,
            version: Arc::default(),
            keyed: VecDeque::new(),
        }
    }
}

impl<A: Aggregate> Entry<A> {
    /// Takes in an event read from the log.
    pub(crate) fn replay(&mut self, stored: Stored<A::Event>, position: Position) {
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

    fn note(&mut self, records: Vec<Recorded<A::Event>>) {
        let Some(last) = records.last() else { return };
        self.sequence = last.meta.sequence;
        self.last = Some(last.position);
        let (at, keyed) = (last.meta.occurred_at, last.meta.idempotency);
        while self.keyed.len() >= IDEMPOTENCY_ENTRIES
            || self
                .keyed
                .front()
                .is_some_and(|k| at.since(k.at) > IDEMPOTENCY_WINDOW)
        {
            self.keyed.pop_front();
        }
        let Some(idempotency) = keyed else { return };
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
            k.idempotency.key_digest == wanted.key_digest && now.since(k.at) <= IDEMPOTENCY_WINDOW
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

/// An idempotency key came with another request than before.
#[derive(Debug)]
pub(crate) struct KeyReused;
