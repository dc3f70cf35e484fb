//! What the writer's thread, the owner of an aggregate and the flusher share of one group's snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::{Event, LogId, Position, SchemaIds, Stored};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::cold::{self, Wanted};
use super::kept::Kept;
use super::known::Known;
use super::marks::Marks;
use super::seal::Sealing;
use super::{Place, Snapshots};
use crate::group::GroupStatus;
use crate::ledger::Ledger;
use crate::record::decode;
use crate::writer_log::{WriterLog, WriterLogError};

/// Reads aggregates' histories from the log.
pub(crate) trait LogScan: Send + Sync {
    /// Every event of those that are wanted, from the partition's first record on.
    fn scan(
        &self,
        place: Place,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Stored<Event>, Position),
    ) -> Result<(), WriterLogError>;
}

pub(crate) struct ScanOf<L> {
    pub log: Arc<L>,
    pub ids: Arc<SchemaIds>,
}

impl<L: WriterLog> LogScan for ScanOf<L> {
    fn scan(
        &self,
        (stream, partition): Place,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Stored<Event>, Position),
    ) -> Result<(), WriterLogError> {
        let ends = self.log.high_watermarks(&[(stream, partition)])?;
        let until = ends.first().copied().unwrap_or(0);
        self.log.read(
            &mut L::Reader::default(),
            &[(stream, partition, 0, until)],
            &mut |record| {
                let is_wanted = std::str::from_utf8(&record.key).is_ok_and(wanted);
                if !is_wanted {
                    return std::ops::ControlFlow::Continue(());
                }
                let offset = record.offset;
                crate::group_log::flow(decode(&record, &self.ids).map_err(Into::into).map(|stored| {
                    let position = Position {
                        stream,
                        partition,
                        offset,
                    };
                    each(stored, position);
                }))
            },
        )
    }
}

/// The snapshots of one group's partitions.
pub(crate) struct GroupSnapshots {
    pub(super) settings: Snapshots,
    pub(super) number: i32,
    pub(super) log_id: LogId,
    pub(super) ledgers: BTreeMap<Place, Arc<Ledger>>,
    pub(super) marks: Arc<Mutex<Marks>>,
    pub(super) known: Mutex<BTreeMap<Place, Known>>,
    pub(super) scan: Arc<dyn LogScan>,
    pub(super) cold: mpsc::Sender<Wanted>,
    pub(super) runtime: Handle,
    pub(super) ended: watch::Sender<bool>,
}

impl GroupSnapshots {
    /// Starts to save what is marked, once there are marks, until the group is given up.
    pub(crate) fn start(
        settings: Snapshots,
        number: i32,
        log_id: LogId,
        ledgers: BTreeMap<Place, Arc<Ledger>>,
        scan: Arc<dyn LogScan>,
        status: watch::Receiver<GroupStatus>,
    ) -> Arc<Self> {
        let marks = Arc::<Mutex<Marks>>::default();
        let cold = cold::start(&settings, log_id, Arc::clone(&marks), Arc::clone(&scan));
        let snapshots = Arc::new(Self {
            settings,
            number,
            log_id,
            ledgers,
            marks,
            known: Mutex::default(),
            scan,
            cold,
            runtime: Handle::current(),
            ended: watch::Sender::new(false),
        });
        tokio::spawn(Arc::clone(&snapshots).run(status));
        snapshots
    }

    pub(super) fn kept(&self, place: Place) -> Option<&dyn Kept> {
        Some(self.ledgers.get(&place)?.kept(place.0))
    }

    pub(super) fn sealing(&self, place: Place) -> Sealing {
        sealing(self.log_id, place)
    }

    pub(crate) fn marks(&self) -> parking_lot::MutexGuard<'_, Marks> {
        self.marks.lock()
    }

    /// Waits until nothing is saved any more.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended).await.map(drop).unwrap_or(());
    }
}

pub(super) fn sealing(log_id: LogId, place: Place) -> Sealing {
    Sealing {
        log_id,
        place,
        state_version: Ledger::default().kept(place.0).state_version(),
    }
}
