//! Which writer groups this instance should own, and taking them over.
//!
//! The consumer group `<prefix>-writers` shares out a topic that stays empty and has one partition for each
//! writer group. A new owner reads the history while the former one still serves, and fences it only then; the
//! former learns of it by the claim in the log. So nobody stops serving because of what the coordinator says.

mod halts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use schemas::{SchemaIds, Stream, WriterId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::claimant::Claimant;
use crate::config::KafkaConfig;
use crate::group::{Group, GroupSpec, GroupStatus, Halt};
use crate::identity::LogIdentity;
use crate::membership::{Attendance, Membership, Share};
use crate::owners::{Instance, Owners};
use crate::ownership::halts::Halts;
use crate::snapshots::Snapshots;
use crate::writer_log::WriterLog;

const TICK: Duration = Duration::from_millis(50);
/// A group that another instance took although it is this one's share is claimed again after about so long.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a leaving instance waits for others to take its groups.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Keeps this instance's share of the log's writer groups. Dropping it keeps what it has and takes no more.
pub struct Ownership {
    membership: Membership,
    keeper: JoinHandle<()>,
    leaving: CancellationToken,
    bus: Bus,
    owners: Owners,
    own: WriterId,
    groups: usize,
}

impl Ownership {
    pub fn start<L: WriterLog>(
        config: &KafkaConfig,
        log: Arc<L>,
        identity: &LogIdentity,
        bus: &Bus,
        own: Instance,
        owners: Owners,
        snapshots: Option<Snapshots>,
    ) -> Result<Self, KafkaError> {
        let created = &identity.created;
        let topic = config.topics().writers();
        let membership = Membership::join(config, "writers", std::slice::from_ref(&topic))?;
        let ledgers = (0..created.groups).map(|n| GroupSpec::of_ledgers(n, created.groups, created.ledgers));
        let specs: Vec<GroupSpec> = ledgers.chain([GroupSpec::catalog()]).collect();
        let groups = specs.len();
        let (own_id, known) = (own.id, owners.clone());
        let keeper = Keeper {
            log,
            ids: Arc::new(identity.schema_ids.clone()),
            bus: bus.clone(),
            own,
            owners,
            snapshots,
            specs,
            mine: BTreeMap::new(),
            halts: Halts::default(),
            attendance: membership.attendance(),
            has_share: false,
        };
        let leaving = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(membership.share(), leaving.clone()));
        Ok(Self {
            membership,
            keeper,
            leaving,
            bus: bus.clone(),
            owners: known,
            own: own_id,
            groups,
        })
    }

    /// Leaves, and goes on serving until others have taken over, or nobody does in time.
    pub async fn hand_over(self) {
        let Self {
            membership,
            keeper,
            leaving,
            bus,
            owners,
            own,
            groups,
        } = self;
        let share = membership.share();
        let has_all = share.borrow().as_ref().is_some_and(|share| share.len() >= groups);
        leaving.cancel();
        drop(membership);
        let deadline = Instant::now() + HAND_OVER;
        // Whoever has all of it has no peers.
        while !has_all && has_unclaimed(&bus, &owners, own) && Instant::now() < deadline {
            tokio::time::sleep(TICK).await;
        }
        keeper.abort();
    }
}

/// Whether anything is served here that no other instance has claimed.
fn has_unclaimed(bus: &Bus, owners: &Owners, own: WriterId) -> bool {
    let is_claimed = |&(stream, partition): &(Stream, i32)| {
        let owner = owners.of(stream, partition);
        owner.is_some_and(|owner| owner.id != own)
    };
    !bus.serving().iter().all(is_claimed)
}

struct Keeper<L> {
    log: Arc<L>,
    ids: Arc<SchemaIds>,
    bus: Bus,
    own: Instance,
    owners: Owners,
    snapshots: Option<Snapshots>,
    /// Of group number i at index i, the catalog's last.
    specs: Vec<GroupSpec>,
    mine: BTreeMap<usize, Mine>,
    halts: Halts,
    attendance: Attendance,
    /// Whether the coordinator has said what is this instance's.
    has_share: bool,
}

/// A group that this instance owns, wants, or lost.
enum Mine {
    Running(watch::Receiver<GroupStatus>),
    /// Let go while it was claimed: two writers of one instance would not take each other for rivals, so no
    /// other starts before this one has ended.
    Ending(watch::Receiver<GroupStatus>),
    Lost {
        again: Instant,
    },
}

impl<L: WriterLog> Keeper<L> {
    async fn run(mut self, share: watch::Receiver<Option<Share>>, leaving: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            let is_away = self
                .halts
                .wait_for_others(Instant::now(), |index| self.owner_id(index));
            self.attendance.stay_away(is_away);
            self.has_share = share.borrow().is_some();
            let wanted = match &*share.borrow() {
                // What is served stays so until it is taken; nothing is taken back.
                _ if leaving.is_cancelled() => BTreeSet::new(),
                // There may be nobody else.
                _ if is_away => self.running().collect(),
                Some(share) => share
                    .iter()
                    .filter_map(|&(_, p)| usize::try_from(p).ok())
                    .collect(),
                None => self.formerly_own(),
            };
            for index in 0..self.specs.len() {
                self.keep(index, wanted.contains(&index));
            }
        }
    }

    /// By the log, as far as it was read.
    fn owner(&self, index: usize) -> Option<Instance> {
        let &(stream, partition) = self.specs[index].partitions.first()?;
        self.owners.of(stream, partition)
    }

    fn owner_id(&self, index: usize) -> Option<WriterId> {
        self.owner(index).map(|owner| owner.id)
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        let running = self
            .mine
            .iter()
            .filter(|(_, mine)| matches!(mine, Mine::Running(_)));
        running.map(|(&index, _)| index)
    }

    /// Before the coordinator knows this instance: what the log says is owned at this very address. Nobody
    /// else can listen there, so that owner is gone.
    ///
    /// While the log is still being read, that may be an old claim, and somebody else the owner by now. It is let
    /// go when a later claim is read, by the node or by the takeover itself, which reads the history before it
    /// fences anybody. Who is asked for it meanwhile at this address says no, or is not reached, and is asked again.
    fn formerly_own(&self) -> BTreeSet<usize> {
        let running: BTreeSet<usize> = self.running().collect();
        let is_own = |&index: &usize| {
            let owner = self
                .owner(index)
                .filter(|owner| owner.address == self.own.address);
            owner.is_some_and(|owner| running.contains(&index) || owner.id != self.own.id)
        };
        (0..self.specs.len()).filter(is_own).collect()
    }

    fn keep(&mut self, index: usize, wanted: bool) {
        let status = match self.mine.get(&index) {
            None if wanted && !self.halts.is_resting(index, Instant::now()) => return self.claim(index),
            Some(Mine::Lost { again }) if wanted && Instant::now() > *again => return self.claim(index),
            Some(Mine::Lost { .. }) if !wanted => {
                self.mine.remove(&index);
                return;
            }
            None | Some(Mine::Lost { .. }) => return,
            Some(Mine::Ending(status)) => {
                if matches!(*status.borrow(), GroupStatus::GivenUp | GroupStatus::Halted(_)) {
                    self.mine.remove(&index);
                }
                return;
            }
            Some(Mine::Running(status)) => status.borrow().clone(),
        };
        match status {
            // Served until another instance fences it, wanted or not.
            GroupStatus::Serving => {
                self.halts.forget(index);
                self.bus.note_service(&self.specs[index].partitions);
                if let Some(&place) = self.specs[index].partitions.first() {
                    self.bus.notice_rival(place, self.own.id, &self.owners);
                }
            }
            GroupStatus::GivenUp => {
                self.note_loss(index);
                let again = Instant::now() + AGAIN.mul_f64(0.5 + rand::random::<f64>());
                self.let_go(index, Some(Mine::Lost { again }));
            }
            GroupStatus::Claiming(_) if !wanted => {
                let Some(Mine::Running(ending)) = self.mine.remove(&index) else {
                    return;
                };
                self.let_go(index, Some(Mine::Ending(ending)));
            }
            GroupStatus::Halted(halt) if halt.is_of_this_instance() => self.leave_to_others(index, &halt),
            GroupStatus::Halted(_) if !wanted => self.let_go(index, None),
            GroupStatus::Claiming(_) | GroupStatus::Halted(_) => {}
        }
    }

    /// Others shall try what halted here; see [`halts`].
    fn leave_to_others(&mut self, index: usize, halt: &Halt) {
        let spec = &self.specs[index];
        tracing::warn!(
            group = spec.number,
            "Leaving writer group {} to other instances: {halt}",
            spec.number
        );
        self.bus.note_halt(&spec.partitions, halt);
        self.halts.note(index, self.owner_id(index), Instant::now());
        self.let_go(index, None);
    }

    fn note_loss(&self, index: usize) {
        let spec = &self.specs[index];
        match self.owner(index) {
            Some(owner) if owner.address == self.own.address => tracing::error!(
                group = spec.number,
                "Another instance is reached at {} too: each needs a ROLECALL_ADVERTISED_URL of its own",
                owner.address
            ),
            Some(owner) => {
                tracing::info!(group = spec.number, "{} owns the writer group now", owner.address);
            }
            None => tracing::info!(group = spec.number, "The writer group has another owner now"),
        }
    }

    fn claim(&mut self, index: usize) {
        let spec = &self.specs[index];
        tracing::info!(group = spec.number, "Taking the writer group over");
        let (log, ids) = (Arc::clone(&self.log), Arc::clone(&self.ids));
        let mut claimant = Claimant::new(self.own.clone(), self.owners.clone(), self.bus.peers.clone());
        claimant.takes_back = !self.has_share;
        let group = Group::start_by(claimant, log, spec, ids, self.snapshots.clone());
        self.mine.insert(index, Mine::Running(group.status()));
        self.bus.route(&spec.partitions, group);
    }

    fn let_go(&mut self, index: usize, mine: Option<Mine>) {
        self.bus.unroute(&self.specs[index].partitions);
        match mine {
            Some(mine) => self.mine.insert(index, mine),
            None => self.mine.remove(&index),
        };
    }
}

/// The partition of the writers topic that stands for the catalog's group comes after the ledgers' groups.
pub(crate) fn writer_partitions(groups: i32) -> i32 {
    groups + 1
}
