//! A writer group: its thread, its ledgers and its standing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use schemas::{SchemaIds, Stream};
use tokio::sync::{mpsc, watch};

use crate::claimant::Claimant;
use crate::group_log::{Append, Ends, GroupLog};
use crate::ledger::Ledger;
use crate::owners::{Instance, Owners};
use crate::pause::Pause;
use crate::snapshots::{GroupSnapshots, ScanOf, Snapshots};
use crate::waiting::{Waiting, Work};
use crate::worker::Worker;
use crate::writer_log::{WriterLog, WriterLogError};

/// Commands waiting for a transaction; a full queue answers "busy".
const QUEUE: usize = 4_096;

/// A writer that is busy for longer has looked by itself.
const PROOF: Duration = Duration::from_secs(5);

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupStatus {
    /// Taking over, or settling a doubt; the reason when it takes more than one try.
    Claiming(Option<String>),
    Serving,
    /// Another instance has it, or it was given back. Final.
    GivenUp,
    /// It cannot be served here as things are. Final.
    Halted(Halt),
}

/// Why a group cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The log lost what had been written, or another one stands in its place. Nobody may go on from there: a
    /// new owner that does not know how far it went would write the past anew.
    #[error("{0}")]
    LogLost(String),
    /// What this instance reads makes no sense. Another one may read it otherwise.
    #[error("{0}")]
    Unreadable(String),
    #[error("the writer's thread panicked")]
    Panicked,
    #[error("the writer's thread cannot be started: {0}")]
    NoThread(String),
}

impl Halt {
    /// Whether another instance could do better.
    pub fn is_of_this_instance(&self) -> bool {
        !matches!(self, Self::LogLost(_))
    }

    /// Of a failure that trying again does not mend.
    pub(crate) fn of(error: &WriterLogError) -> Option<Self> {
        match error {
            WriterLogError::SetBack { .. } | WriterLogError::Shorter { .. } => {
                Some(Self::LogLost(error.to_string()))
            }
            WriterLogError::BrokenChain { .. } | WriterLogError::Decode(_) => {
                Some(Self::Unreadable(error.to_string()))
            }
            WriterLogError::Kafka(_) | WriterLogError::Watermark(_) | WriterLogError::Stalled => None,
        }
    }
}

/// What makes up a group.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Number of the group; -1 for the catalog's.
    pub number: i32,
    /// Its chained partitions.
    pub partitions: Vec<(Stream, i32)>,
}

impl GroupSpec {
    /// Ledger i belongs to group i mod `groups`.
    pub fn of_ledgers(number: i32, groups: i32, ledgers: i32) -> Self {
        let own = (0..ledgers).filter(|ledger| ledger % groups == number);
        Self {
            number,
            partitions: own
                .flat_map(|l| [(Stream::Users, l), (Stream::Identifiers, l)])
                .collect(),
        }
    }

    pub fn catalog() -> Self {
        Self {
            number: -1,
            partitions: vec![(Stream::Catalog, 0)],
        }
    }

    /// Ownership is this id, never a process name.
    pub fn transactional_id(&self) -> String {
        match self.number {
            -1 => "writer-catalog".to_owned(),
            number => format!("writer-{number}"),
        }
    }
}

/// No room, or nobody to take it.
#[derive(Debug)]
pub(crate) struct GroupBusy;

/// A group that this process owns, or wants to.
pub struct Group {
    work: mpsc::Sender<Work>,
    status: watch::Receiver<GroupStatus>,
    ledgers: BTreeMap<(Stream, i32), Arc<Ledger>>,
    ends: Arc<Ends>,
    clock_ahead_ms: Arc<AtomicI64>,
    pause: Arc<Pause>,
    snapshots: Option<Arc<GroupSnapshots>>,
}

impl Group {
    /// Starts to claim the group for this instance; [`Self::status`] tells when it serves. Claims that it
    /// reads go to `owners`.
    pub fn start<L: WriterLog>(
        log: Arc<L>,
        spec: &GroupSpec,
        ids: Arc<SchemaIds>,
        instance: Instance,
        owners: Owners,
    ) -> Self {
        Self::start_from(log, spec, ids, instance, owners, None)
    }

    /// As [`Self::start`], from snapshots and with snapshots.
    pub fn start_from<L: WriterLog>(
        log: Arc<L>,
        spec: &GroupSpec,
        ids: Arc<SchemaIds>,
        instance: Instance,
        owners: Owners,
        snapshots: Option<Snapshots>,
    ) -> Self {
        let claimant = Claimant::new(instance, owners, None);
        Self::start_by(claimant, log, spec, ids, snapshots)
    }

    /// As [`Self::start_from`], by one that may have others pause.
    pub(crate) fn start_by<L: WriterLog>(
        claimant: Claimant,
        log: Arc<L>,
        spec: &GroupSpec,
        ids: Arc<SchemaIds>,
        snapshots: Option<Snapshots>,
    ) -> Self {
        let name = format!("rolecall-{}", spec.transactional_id());
        let thread = std::thread::Builder::new().name(name);
        Self::start_in(thread, claimant, log, spec, ids, snapshots)
    }

    /// As [`Self::start_by`], in a thread like this.
    pub(crate) fn start_in<L: WriterLog>(
        thread: std::thread::Builder,
        claimant: Claimant,
        log: Arc<L>,
        spec: &GroupSpec,
        ids: Arc<SchemaIds>,
        snapshots: Option<Snapshots>,
    ) -> Self {
        let (work, queue) = mpsc::channel(QUEUE);
        let (status, watch) = watch::channel(GroupStatus::Claiming(None));
        let mut by_partition: HashMap<i32, Arc<Ledger>> = HashMap::new();
        let ledgers: BTreeMap<_, _> = spec
            .partitions
            .iter()
            .map(|&(stream, partition)| {
                // Users and identifiers of one number are one ledger.
                (
                    (stream, partition),
                    Arc::clone(by_partition.entry(partition).or_default()),
                )
            })
            .collect();
        let snapshots = snapshots.map(|settings| {
            let scan = ScanOf {
                log: Arc::clone(&log),
                ids: Arc::clone(&ids),
            };
            let (number, ledgers) = (spec.number, ledgers.clone());
            GroupSnapshots::start(
                settings,
                number,
                log.log_id(),
                ledgers,
                Arc::new(scan),
                watch.clone(),
            )
        });
        let heads = GroupLog::new(log.log_id(), ids, &spec.partitions, |stream| log.topic(stream));
        let (ends, clock_ahead_ms) = (heads.ends(), heads.clock_ahead_ms());
        let pause = Arc::<Pause>::default();
        let worker = Worker {
            log,
            id: spec.transactional_id(),
            number: spec.number,
            claimant,
            reader: L::Reader::default(),
            heads,
            ledgers: ledgers.clone(),
            waiting: Waiting::new(queue),
            status,
            claimed_before: false,
            replaced: false,
            pause: Arc::clone(&pause),
            snapshots: snapshots.clone(),
            resumed: false,
            found: HashMap::new(),
        };
        worker.start(thread);
        Self {
            work,
            status: watch,
            ledgers,
            ends,
            clock_ahead_ms,
            pause,
            snapshots,
        }
    }

    pub(crate) fn pause(&self) -> Arc<Pause> {
        Arc::clone(&self.pause)
    }

    pub(crate) fn snapshots(&self) -> Option<&Arc<GroupSnapshots>> {
        self.snapshots.as_ref()
    }

    /// How far this machine's clock was ahead of the broker's at the last commit, in milliseconds. Of
    /// groups with ledgers: only those have heartbeats, which look again.
    pub(crate) fn clock_ahead_ms(&self) -> Option<i64> {
        self.has_ledgers()
            .then(|| self.clock_ahead_ms.load(Ordering::Relaxed))
    }

    /// Whether it has ledgers; the catalog's group has none.
    fn has_ledgers(&self) -> bool {
        self.ledgers.keys().any(|(stream, _)| *stream == Stream::Users)
    }

    /// Has a heartbeat written to each ledger; `Err` where the queue is full or closed, and so busy
    /// enough, or gone.
    pub(crate) fn heartbeat(&self) -> Result<(), GroupBusy> {
        let users = |(stream, partition): &(Stream, i32)| (*stream == Stream::Users).then_some(*partition);
        for partition in self.ledgers.keys().filter_map(users) {
            self.work
                .try_send(Work::one(Append::heartbeat(partition)))
                .map_err(|_| GroupBusy)?;
        }
        Ok(())
    }

    /// Has the writer prove that it owns the group, by an append of nothing. A full queue does so anyway.
    pub(crate) fn doubt(&self, (stream, partition): (Stream, i32)) {
        let nothing = Append {
            deadline: Instant::now() + PROOF,
            ..Append::of_log(stream, partition, Vec::new())
        };
        self.work.try_send(Work::one(nothing)).ok();
    }

    pub fn status(&self) -> watch::Receiver<GroupStatus> {
        self.status.clone()
    }

    pub(crate) fn is_serving(&self) -> bool {
        *self.status.borrow() == GroupStatus::Serving
    }

    pub(crate) fn ledger(&self, stream: Stream, partition: i32) -> Option<Arc<Ledger>> {
        let serving = self.is_serving();
        self.ledgers
            .get(&(stream, partition))
            .filter(|_| serving)
            .map(Arc::clone)
    }

    /// Offset behind the last record that this owner knows of.
    pub(crate) fn end(&self, stream: Stream, partition: i32) -> Option<i64> {
        let end = self.ends.get(&(stream, partition))?.load(Ordering::Acquire);
        self.is_serving().then_some(end)
    }

    pub(crate) fn work(&self) -> mpsc::Sender<Work> {
        self.work.clone()
    }
}
