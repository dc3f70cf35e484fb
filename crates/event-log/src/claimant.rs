//! Who claims groups, and what it knows of others.

use std::sync::Arc;

use schemas::log::LogEvent;
use schemas::{Event, Position, Stream};
use tokio::runtime::Handle;

use crate::bus::Peers;
use crate::owners::{Instance, Owners};
use crate::pause::await_markers;
use crate::writer_log::WriterLog;

/// This instance, as the writer of one group has it.
#[derive(Clone)]
pub(crate) struct Claimant {
    pub own: Instance,
    pub owners: Owners,
    /// The other instances, and where to run calls to them.
    peers: Option<(Arc<Peers>, Handle)>,
    /// Only what the log still says is owned at this very address is claimed.
    pub takes_back: bool,
}

impl Claimant {
    /// With peers: to be called in a runtime.
    pub(crate) fn new(own: Instance, owners: Owners, peers: Option<Arc<Peers>>) -> Self {
        Self {
            own,
            owners,
            peers: peers.map(|peers| (peers, Handle::current())),
            takes_back: false,
        }
    }

    /// Notes a claim that was read, and whether it is another instance's.
    pub(crate) fn is_foreign_claim(&self, event: &Event, position: Position) -> bool {
        let Event::Log(LogEvent::LedgerClaimed(claim)) = event else {
            return false;
        };
        self.owners.learn(position, claim);
        claim.instance != self.own.id
    }

    /// Whether the last claim that was read was made at this address.
    pub(crate) fn was_own(&self, (stream, partition): (Stream, i32)) -> bool {
        let owner = self.owners.of(stream, partition);
        owner.is_some_and(|owner| owner.address == self.own.address)
    }

    /// Has the owner of these partitions, if it is another instance that can be reached, open no transaction for now, and
    /// waits until its last one is settled.
    pub(crate) fn pause_owner<L: WriterLog>(&self, log: &L, partitions: &[(Stream, i32)]) {
        if let (Some((peers, runtime)), Some(&place)) = (&self.peers, partitions.first())
            && runtime.block_on(peers.ask_to_pause(place))
        {
            await_markers(log, partitions);
        }
    }
}
