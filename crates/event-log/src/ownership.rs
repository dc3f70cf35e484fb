//! Which writer groups this instance should own, and taking them over.
//!
//! The consumer group `<prefix>-writers` shares out a topic that stays empty and has one partition for each
//! writer group. A new owner reads the history while the former one still serves, and fences it only then; the
//! former learns of it by the claim in the log. So nobody stops serving because of what the coordinator says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use schemas::{SchemaIds, Stream, WriterId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::config::KafkaConfig;
use crate::group::{Group, GroupSpec, GroupStatus};
use crate::identity::LogIdentity;
use crate::membership::{Membership, Share};
use crate::owners::{Instance, Owners};
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

/// Whether anything is served here that no other instance has claimed. A group that nobody writes to does not
/// notice the claim by itself.
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
            let wanted = match &*share.borrow() {
                // What is served stays so until it is taken; nothing is taken back.
                _ if leaving.is_cancelled() => BTreeSet::new(),
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

    /// Before the coordinator knows this instance: what the log says is owned at this very address. Nobody
    /// else can listen there, so that owner is gone.
    fn formerly_own(&self) -> BTreeSet<usize> {
        let is_own = |spec: &GroupSpec| {
            let place = spec.partitions.first();
            let owner = place.and_then(|&(stream, partition)| self.owners.of(stream, partition));
            owner.is_some_and(|owner| owner.address == self.own.address && owner.id != self.own.id)
        };
        (0..self.specs.len())
            .filter(|index| {
                matches!(self.mine.get(index), Some(Mine::Running(_))) || is_own(&self.specs[*index])
            })
            .collect()
    }

    fn keep(&mut self, index: usize, wanted: bool) {
        let status = match self.mine.get(&index) {
            None if wanted => return self.claim(index),
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
            GroupStatus::Serving => {}
            GroupStatus::GivenUp => {
                self.note_loss(&self.specs[index]);
                let again = Instant::now() + AGAIN.mul_f64(0.5 + rand::random::<f64>());
                self.let_go(index, Some(Mine::Lost { again }));
            }
            GroupStatus::Claiming(_) if !wanted => {
                let Some(Mine::Running(ending)) = self.mine.remove(&index) else {
                    return;
                };
                self.let_go(index, Some(Mine::Ending(ending)));
            }
            GroupStatus::Halted(_) if !wanted => self.let_go(index, None),
            GroupStatus::Claiming(_) | GroupStatus::Halted(_) => {}
        }
    }

    fn note_loss(&self, spec: &GroupSpec) {
        let place = spec.partitions.first();
        let owner = place.and_then(|&(stream, partition)| self.owners.of(stream, partition));
        match owner {
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
        let (own, owners) = (self.own.clone(), self.owners.clone());
        let group = Group::start_from(log, spec, ids, own, owners, self.snapshots.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_partition_for_each_group() {
        let ledgers = (0..4).map(|n| GroupSpec::of_ledgers(n, 4, 16));
        let count = ledgers.chain([GroupSpec::catalog()]).count();
        assert_eq!(i32::try_from(count), Ok(writer_partitions(4)));
    }
}
