//! The one way to run a command: it knows the owner of each ledger, here or elsewhere.

pub(crate) mod patience;
mod standing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cqrs_es::Aggregate;
use domain::catalog::Catalog;
use domain::ledger::ledger_of;
use parking_lot::Mutex;
use schemas::{Idempotency, Position, Stream, WriterId};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::aggregate::LedgerAggregate;
use crate::asking::Asking;
use crate::entry::{CommandContext, Receipt};
use crate::forward::{Answer, Ask, Forward, Inspected, Reply};
use crate::group::{Group, GroupStatus, Halt};
use crate::here::Owner;
use crate::owners::{Instance, Owners};
use crate::pause::Pause;
use patience::DEADLINE;
pub(crate) use patience::SETTLE;
pub use patience::within_one_deadline;

/// How long the last save may take when the process ends.
const LAST_SAVE: Duration = Duration::from_secs(5);
/// A group that settles a doubt without Kafka ends no sooner than Kafka's client gives up.
const LAST_ANSWER: Duration = Duration::from_secs(20);

/// Why a command came to nothing, or to something not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
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
    /// Nobody serves the ledger at the moment; nothing was applied.
    #[error("the ledger is not served at the moment")]
    Unavailable,
    /// Too much waits for one aggregate; nothing was applied.
    #[error("too many commands wait for this aggregate")]
    Busy,
    #[error("the event cannot be written: {0}")]
    Internal(String),
}

impl<E> BusError<E> {
    /// Whether nothing was applied, and another owner may do better.
    pub(crate) fn is_between_owners(&self) -> bool {
        matches!(self, Self::Unavailable | Self::NotApplied)
    }
}

/// The group that owns each partition.
type Routes = HashMap<(Stream, i32), Arc<Group>>;

/// Runs commands at the owner of their ledger: this process, or another instance.
#[derive(Clone)]
pub struct Bus {
    ledgers: i32,
    groups: Arc<ArcSwap<Routes>>,
    /// Why these were not served here when that was last tried, routed or not.
    halted: Arc<Mutex<BTreeMap<(Stream, i32), Halt>>>,
    running: TaskTracker,
    pub(crate) peers: Option<Arc<Peers>>,
}

/// The other instances, and how to reach them.
pub(crate) struct Peers {
    pub own: Instance,
    pub owners: Owners,
    pub way: Box<dyn Forward>,
}

impl Peers {
    /// The owner by the log, if it is another instance. One at this very address is a former run of this one.
    pub(crate) fn owner_elsewhere(&self, (stream, partition): (Stream, i32)) -> Option<Instance> {
        let owner = self.owners.of(stream, partition)?;
        (owner.address != self.own.address).then_some(owner)
    }
}

impl Bus {
    /// Of the only instance.
    pub fn new(ledgers: i32) -> Self {
        Self {
            ledgers,
            groups: Arc::default(),
            halted: Arc::default(),
            running: TaskTracker::new(),
            peers: None,
        }
    }

    /// Of one among several: what it does not own goes to whoever `owners` names.
    pub fn among(ledgers: i32, own: Instance, owners: Owners, way: impl Forward) -> Self {
        let way = Box::new(way);
        Self {
            peers: Some(Arc::new(Peers { own, owners, way })),
            ..Self::new(ledgers)
        }
    }

    /// How many the log has.
    pub fn ledgers(&self) -> i32 {
        self.ledgers
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

    /// Runs a command in a task of its own, so that a caller who hangs up cannot stop it half way.
    ///
    /// While the ledger is between owners it waits, within its time.
    pub async fn execute<A: LedgerAggregate>(
        &self,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Receipt<A::Event>, BusError<A::Error>> {
        let (bus, id, deadline) = (self.clone(), id.to_owned(), patience::deadline());
        let context = Box::new(context);
        let ask = Ask::Execute { command, context };
        let task = self
            .running
            .spawn(async move { bus.ask::<A>(&id, ask, deadline).await });
        match tokio::time::timeout_at((deadline + SETTLE).into(), task).await {
            Ok(Ok(Ok(Reply::Receipt(receipt)))) => Ok(receipt),
            Ok(Ok(answer)) => Err(unexpected::<A>(answer)),
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
        let ask = Ask::Replayed(*idempotency);
        match self.ask::<A>(id, ask, patience::deadline()).await {
            Ok(Reply::Replayed(found)) => Ok(found),
            answer => Err(unexpected::<A>(answer)),
        }
    }

    /// The state of an aggregate as its owner has it, all committed. It may change right after.
    pub async fn inspect<A: LedgerAggregate>(&self, id: &str) -> Result<Inspected<A>, BusError<A::Error>> {
        self.inspected::<A>(id, false).await
    }

    /// As [`Self::inspect`], and true: the owner has proved afterwards that it still is the owner.
    /// For answers that rest on what was found and are followed by no command.
    pub async fn inspect_proven<A: LedgerAggregate>(
        &self,
        id: &str,
    ) -> Result<Inspected<A>, BusError<A::Error>> {
        self.inspected::<A>(id, true).await
    }

    async fn inspected<A: LedgerAggregate>(
        &self,
        id: &str,
        proven: bool,
    ) -> Result<Inspected<A>, BusError<A::Error>> {
        let ask = Ask::Inspect { proven };
        match self.ask::<A>(id, ask, patience::deadline()).await {
            Ok(Reply::Inspected(found)) => Ok(found),
            answer => Err(unexpected::<A>(answer)),
        }
    }

    /// The catalog, whole.
    pub async fn catalog(&self) -> Result<Inspected<Catalog>, BusError<<Catalog as Aggregate>::Error>> {
        self.inspect::<Catalog>("catalog").await
    }

    async fn ask<A: LedgerAggregate>(&self, id: &str, ask: Ask<A::Command>, deadline: Instant) -> Answer<A> {
        let news = self.peers.as_ref().map(|peers| peers.owners.news());
        let mut asking = Asking::new(ask, deadline, news);
        loop {
            let partition = self.partition_of::<A>(id);
            let outcome = match (self.owner::<A>(partition), self.elsewhere::<A>(partition)) {
                (Some(owner), _) => owner.answer::<A>(id, asking.ask.clone(), asking.deadline).await,
                (None, Some((peers, instance))) => asking.there::<A>(id, &peers, &instance).await,
                (None, None) => Err(BusError::Unavailable),
            };
            // Without peers nobody else comes to serve it.
            if self.peers.is_none() {
                return outcome;
            }
            if let Some(answer) = asking.settle::<A>(outcome).await {
                return answer;
            }
        }
    }

    /// What another instance forwarded here; see [`crate::answer`].
    pub(crate) async fn answer_here<A: LedgerAggregate>(
        &self,
        id: String,
        ask: Ask<A::Command>,
        deadline: Instant,
    ) -> Answer<A> {
        let Some(owner) = self.owner::<A>(self.partition_of::<A>(&id)) else {
            return Err(BusError::Unavailable);
        };
        let task = self
            .running
            .spawn(async move { owner.answer::<A>(&id, ask, deadline).await });
        task.await
            .unwrap_or_else(|error| Err(BusError::Internal(error.to_string())))
    }

    pub(crate) fn elsewhere<A: LedgerAggregate>(&self, partition: i32) -> Option<(Arc<Peers>, Instance)> {
        let peers = self.peers.as_ref()?;
        let owner = self.owner_elsewhere((A::STREAM, partition))?;
        Some((Arc::clone(peers), owner))
    }

    fn owner_elsewhere(&self, place: (Stream, i32)) -> Option<Instance> {
        self.peers.as_ref()?.owner_elsewhere(place)
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

    /// Pinned aggregates that are wanted, of the ledgers served here; false if more may be: one that runs a
    /// command, or whose ledger is not served now, is not looked at.
    pub fn at_rest<A: LedgerAggregate>(&self, is_wanted: impl Fn(&A) -> bool) -> (Vec<(String, A)>, bool) {
        let (mut wanted, mut all_seen) = (Vec::new(), true);
        for ledger in 0..self.ledgers {
            let Some(owner) = self.owner::<A>(ledger) else {
                // Those of another instance are its own to look at.
                all_seen &= self.owner_elsewhere((A::STREAM, ledger)).is_some();
                continue;
            };
            let is_it = |it: &A| it.is_pinned() && is_wanted(it);
            let (found, busy) = A::map(&owner.ledger).at_rest(is_it);
            wanted.extend(found);
            all_seen &= busy == 0;
        }
        (wanted, all_seen)
    }

    pub(crate) fn pause_of(&self, place: (Stream, i32)) -> Option<Arc<Pause>> {
        let groups = self.groups.load();
        groups.get(&place).map(|group| group.pause())
    }

    /// Has the group of this partition, to which nobody may write, look whether it is still served here, if another
    /// instance has claimed it.
    pub(crate) fn notice_rival(&self, place: (Stream, i32), own: WriterId, owners: &Owners) {
        let groups = self.groups.load();
        let Some(group) = groups.get(&place) else { return };
        let end = group.end(place.0, place.1);
        if end.is_some_and(|end| owners.has_rival(own, place, end)) {
            group.doubt(place);
        }
    }

    pub(crate) fn owner<A: LedgerAggregate>(&self, partition: i32) -> Option<Owner> {
        let groups = self.groups.load();
        let group = groups.get(&(A::STREAM, partition))?;
        let ledger = group.ledger(A::STREAM, partition)?;
        Some(Owner {
            group: Arc::clone(group),
            ledger,
            partition,
        })
    }

    /// In a task that [`Self::shut_down`] waits for.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.running.spawn(work)
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
        let saving: Vec<_> = groups.values().filter_map(|it| it.snapshots().cloned()).collect();
        drop(groups);
        let is_over = |status: &GroupStatus| matches!(status, GroupStatus::GivenUp | GroupStatus::Halted(_));
        let ended = ended
            .into_iter()
            .map(async |mut status| status.wait_for(is_over).await.is_ok());
        if tokio::time::timeout(LAST_ANSWER, futures::future::join_all(ended))
            .await
            .is_err()
        {
            tracing::warn!("A writer group does not end: Kafka does not answer it");
        }
        // What is saved now is not read from the log at the next start.
        let saved = futures::future::join_all(saving.iter().map(|snapshots| snapshots.ended()));
        if tokio::time::timeout(LAST_SAVE, saved).await.is_err() {
            tracing::info!("The last changes are not in the snapshots: their store is slow or down");
        }
    }
}

fn unexpected<A: LedgerAggregate>(answer: Answer<A>) -> BusError<A::Error> {
    match answer {
        Err(error) => error,
        Ok(_) => BusError::Internal("the owner answered another question".to_owned()),
    }
}
