//! The one way to run a command: it knows the owner of each ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cqrs_es::{Aggregate, AggregateError, CqrsFramework};
use domain::catalog::Catalog;
use domain::decider::Context;
use domain::identifier::Identifier;
use domain::ledger::ledger_of;
use schemas::{Idempotency, Position, RequestId, Stream, Timestamp};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::aggregate::LedgerAggregate;
use crate::entry::{CommandContext, Receipt};
use crate::group::{Group, GroupStatus};
use crate::group_log::{Append, AppendError};
use crate::ledger::Ledger;
use crate::store::KafkaEventStore;

/// A command waits this long at most for its turn and its transaction.
const DEADLINE: Duration = Duration::from_secs(10);
/// And this long more to learn what became of one that was sent in time.
const SETTLE: Duration = Duration::from_secs(5);
/// Commands that wait for one aggregate at most, each for its turn.
const WAITING: usize = 512;

/// Why a command came to nothing, or to something not known.
#[derive(Debug, thiserror::Error)]
pub enum BusError<E> {
    /// The aggregate refused.
    #[error(transparent)]
    Refused(E),
    #[error("the idempotency key came with another request before")]
    KeyReused,
    /// Certainly not in the log; the caller may try again.
    #[error("the command was not applied")]
    NotApplied,
    /// In the log or not; the same idempotency key finds out.
    #[error("the command's outcome is unknown")]
    OutcomeUnknown,
    /// No instance owns the ledger at the moment, or its queue is full.
    #[error("the ledger is not served at the moment")]
    Unavailable,
    #[error("the event cannot be written: {0}")]
    Internal(String),
}

/// An aggregate's state and the position of its last event.
#[derive(Clone, Debug)]
pub struct Inspected<A> {
    pub aggregate: A,
    /// Events so far.
    pub sequence: i64,
    pub last: Option<Position>,
}

/// The group that owns each partition.
type Routes = HashMap<(Stream, i32), Arc<Group>>;

/// Runs commands at the owner of their ledger: here always this process.
#[derive(Clone)]
pub struct Bus {
    ledgers: i32,
    groups: Arc<ArcSwap<Routes>>,
    running: TaskTracker,
}

impl Bus {
    pub fn new(ledgers: i32) -> Self {
        Self {
            ledgers,
            groups: Arc::default(),
            running: TaskTracker::new(),
        }
    }

    /// The partition of an aggregate: the catalog has one, users and identifiers have ledgers.
    pub fn partition_of<A: LedgerAggregate>(&self, id: &str) -> i32 {
        match A::STREAM {
            Stream::Catalog => 0,
            Stream::Users | Stream::Identifiers => ledger_of(id, self.ledgers),
        }
    }

    /// Routes these partitions to a group from now on.
    pub fn route(&self, partitions: &[(Stream, i32)], group: Group) {
        let group = Arc::new(group);
        self.groups.rcu(|old| {
            let mut groups = HashMap::clone(old);
            groups.extend(partitions.iter().map(|&p| (p, Arc::clone(&group))));
            groups
        });
    }

    /// Gives partitions up: their commands are refused at once; what is queued is still committed.
    pub fn unroute(&self, partitions: &[(Stream, i32)]) {
        self.groups.rcu(|old| {
            let mut groups = HashMap::clone(old);
            groups.retain(|p, _| !partitions.contains(p));
            groups
        });
    }

    /// Partitions whose group does not serve, and why.
    pub fn not_serving(&self) -> Vec<((Stream, i32), GroupStatus)> {
        let groups = self.groups.load();
        let mut waiting: Vec<_> = groups
            .iter()
            .map(|(&p, group)| (p, group.status().borrow().clone()))
            .filter(|(_, status)| *status != GroupStatus::Serving)
            .collect();
        waiting.sort_by_key(|(p, _)| *p);
        waiting
    }

    /// How far this machine's clock is ahead of the brokers' (behind: negative), in milliseconds, as
    /// the last commits showed; of several brokers the one that differs most.
    pub fn clock_ahead_ms(&self) -> i64 {
        let groups = self.groups.load();
        let ahead = groups.values().filter_map(|group| group.clock_ahead_ms());
        ahead.max_by_key(|ahead| ahead.abs()).unwrap_or(0)
    }

    /// Has every ledger append a heartbeat, so that the keys topic forgets what was overwritten and
    /// the clocks are compared anew.
    pub fn heartbeat(&self) {
        let groups = self.groups.load();
        let mut told = Vec::new();
        for group in groups.values() {
            if told.iter().any(|known| Arc::ptr_eq(known, group)) {
                continue;
            }
            told.push(Arc::clone(group));
            if group.heartbeat().is_err() {
                tracing::debug!("A writer group has no room for its heartbeat now");
            }
        }
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

    /// Runs a command in a task of its own, so that a caller who hangs up cannot stop it half way.
    pub async fn execute<A>(
        &self,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Receipt<A::Event>, BusError<A::Error>>
    where
        A: LedgerAggregate,
        A::Command: Send + 'static,
        A::Error: Send + 'static,
    {
        let (bus, id) = (self.clone(), id.to_owned());
        let task = self.running.spawn(async move {
            let outcome = bus.run::<A>(&id, command, context).await;
            if let Ok(Owner { ledger, .. }) = bus.owner::<A>(bus.partition_of::<A>(&id)) {
                A::map(&ledger).forget_unborn(&id);
            }
            outcome
        });
        match tokio::time::timeout(DEADLINE + SETTLE, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(BusError::Internal(error.to_string())),
            // The task goes on holding the aggregate until the log has told; only the caller leaves.
            Err(_) => Err(BusError::OutcomeUnknown),
        }
    }

    /// The answer of an earlier command under this idempotency key, if there was one.
    pub async fn replayed<A: LedgerAggregate>(
        &self,
        id: &str,
        idempotency: &Idempotency,
    ) -> Result<Option<Receipt<A::Event>>, BusError<A::Error>> {
        let ledger = self.owner::<A>(self.partition_of::<A>(id))?.ledger;
        let Some(entry) = A::map(&ledger).existing(id) else {
            return Ok(None);
        };
        let entry = tokio::time::timeout(DEADLINE, entry.lock())
            .await
            .map_err(|_| BusError::Unavailable)?;
        entry
            .find(idempotency, Timestamp::now())
            .map_err(|_| BusError::KeyReused)
    }

    /// Turns ends of the log into what must be applied to know everything: behind this owner's last
    /// record at most its transaction's marker can stand, which no reader needs to have passed.
    pub fn without_markers(&self, ends: &mut [Position]) {
        let groups = self.groups.load();
        for end in ends {
            let group = groups.get(&(end.stream, end.partition));
            if let Some(known) = group.and_then(|group| group.end(end.stream, end.partition))
                && end.offset == known
            {
                end.offset = known - 1;
            }
        }
    }

    async fn run<A: LedgerAggregate>(
        &self,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Receipt<A::Event>, BusError<A::Error>> {
        let deadline = Instant::now() + DEADLINE;
        let partition = self.partition_of::<A>(id);
        let Owner { group, ledger } = self.owner::<A>(partition)?;
        let entry = A::map(&ledger).entry(id);
        if Arc::strong_count(&entry) > WAITING {
            return Err(BusError::Unavailable);
        }
        let entry = match tokio::time::timeout_at(deadline.into(), entry.lock_owned()).await {
            Ok(entry) => entry,
            // Whoever holds it may be this command's own first try.
            Err(_) if context.idempotency.is_some() => return Err(BusError::OutcomeUnknown),
            Err(_) => return Err(BusError::NotApplied),
        };
        // The group may have been given up while this waited for its turn.
        self.owner::<A>(partition)?;
        if let Some(idempotency) = &context.idempotency
            && let Some(receipt) = entry
                .find(idempotency, Timestamp::now())
                .map_err(|_| BusError::KeyReused)?
        {
            return Ok(receipt);
        }
        let store = KafkaEventStore::<A>::new(entry, partition, group.appends(), context, deadline);
        let decide_at = Context {
            now: Timestamp::now(),
        };
        let framework = CqrsFramework::<A, _>::new(&store, Vec::new(), decide_at);
        let outcome = framework.execute(id, command).await;
        match outcome {
            Ok(()) => store.take_receipt().ok_or(BusError::OutcomeUnknown),
            // cqrs-es commits nothing where the aggregate refuses, yet a refusal must be as true.
            Err(AggregateError::UserError(refusal)) => {
                prove::<A>(&group, partition, id, deadline).await?;
                Err(BusError::Refused(refusal))
            }
            Err(AggregateError::UnexpectedError(error)) => Err(match error.downcast::<AppendError>() {
                Ok(error) => from_append(*error),
                Err(error) => BusError::Internal(error.to_string()),
            }),
            Err(error) => Err(BusError::Internal(error.to_string())),
        }
    }

    /// As [`Self::inspect`], and true: the owner has proved afterwards that it still is the owner.
    /// For answers that rest on what was found and are followed by no command.
    pub async fn inspect_proven<A: LedgerAggregate>(
        &self,
        id: &str,
    ) -> Result<Inspected<A>, BusError<A::Error>> {
        let found = self.inspect::<A>(id).await?;
        let partition = self.partition_of::<A>(id);
        let group = self.owner::<A>(partition)?.group;
        prove::<A>(&group, partition, id, Instant::now() + DEADLINE).await?;
        Ok(found)
    }

    /// The state of an aggregate as its owner has it, all committed. It may change right after.
    pub async fn inspect<A: LedgerAggregate>(&self, id: &str) -> Result<Inspected<A>, BusError<A::Error>> {
        let ledger = self.owner::<A>(self.partition_of::<A>(id))?.ledger;
        let Some(entry) = A::map(&ledger).existing(id) else {
            return Ok(Inspected {
                aggregate: A::default(),
                sequence: 0,
                last: None,
            });
        };
        let entry = tokio::time::timeout(DEADLINE, entry.lock())
            .await
            .map_err(|_| BusError::Unavailable)?;
        Ok(Inspected {
            aggregate: entry.aggregate.clone(),
            sequence: entry.sequence,
            last: entry.last,
        })
    }

    /// Identifiers that are reserved and neither confirmed nor released yet, of the ledgers served
    /// here; false if more may be: one that runs a command, or whose ledger is not served now, is not
    /// looked at.
    pub fn reserved_identifiers(&self) -> (Vec<(String, Identifier)>, bool) {
        let (mut reserved, mut all_seen) = (Vec::new(), true);
        for ledger in 0..self.ledgers {
            let Ok(owner) = self.owner::<Identifier>(ledger) else {
                all_seen = false;
                continue;
            };
            let is_reserved = |it: &Identifier| matches!(it, Identifier::Reserved { .. });
            let (found, busy) = owner.ledger.identifiers.at_rest(is_reserved);
            reserved.extend(found);
            all_seen &= busy == 0;
        }
        (reserved, all_seen)
    }

    /// The catalog, whole.
    pub async fn catalog(&self) -> Result<Inspected<Catalog>, BusError<<Catalog as Aggregate>::Error>> {
        self.inspect::<Catalog>("catalog").await
    }

    fn owner<A: LedgerAggregate>(&self, partition: i32) -> Result<Owner, BusError<A::Error>> {
        let groups = self.groups.load();
        let group = groups.get(&(A::STREAM, partition)).ok_or(BusError::Unavailable)?;
        let ledger = group.ledger(A::STREAM, partition).ok_or(BusError::Unavailable)?;
        Ok(Owner {
            group: Arc::clone(group),
            ledger,
        })
    }

    /// Waits for every accepted command, then gives all groups back.
    pub async fn shut_down(&self) {
        self.running.close();
        if tokio::time::timeout(DEADLINE + SETTLE, self.running.wait())
            .await
            .is_err()
        {
            // Their callers were told "outcome unknown" by now; the log will tell the next owner.
            tracing::warn!(
                commands = self.running.len(),
                "Commands are still in doubt; giving up on them"
            );
            return;
        }
        let groups = self.groups.swap(Arc::default());
        let ended: Vec<_> = groups.values().map(|group| group.status()).collect();
        drop(groups);
        for mut status in ended {
            status
                .wait_for(|s| matches!(s, GroupStatus::GivenUp | GroupStatus::Halted(_)))
                .await
                .ok();
        }
    }
}

/// A serving group and one of its ledgers.
struct Owner {
    group: Arc<Group>,
    ledger: Arc<Ledger>,
}

/// Shows that the group still has its owner: an append of nothing, which its writer answers only
/// while no record of another can stand behind its own last.
async fn prove<A: LedgerAggregate>(
    group: &Group,
    partition: i32,
    id: &str,
    deadline: Instant,
) -> Result<(), BusError<A::Error>> {
    let (reply, outcome) = oneshot::channel();
    let nothing = Append {
        stream: A::STREAM,
        partition,
        aggregate_id: id.to_owned(),
        version: Arc::default(),
        expected: 0,
        events: Vec::new(),
        heartbeat: false,
        context: CommandContext::system(RequestId::new_v7()),
        deadline,
        reply,
    };
    match tokio::time::timeout_at(deadline.into(), group.appends().send(nothing)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(BusError::Unavailable),
        Err(_) => return Err(BusError::NotApplied),
    }
    let proven = outcome.await.unwrap_or(Err(AppendError::NotApplied));
    proven.map(drop).map_err(from_append)
}

fn from_append<E>(error: AppendError) -> BusError<E> {
    match error {
        AppendError::NotApplied | AppendError::Expired => BusError::NotApplied,
        AppendError::OutcomeUnknown => BusError::OutcomeUnknown,
        AppendError::NotOwner => BusError::Unavailable,
        AppendError::Encoding(message) => BusError::Internal(message),
    }
}
