use std::ops::ControlFlow;

use parking_lot::Mutex;
use schemas::log::LedgerClaimed;
use schemas::{LogId, Position};

use super::*;
use crate::memory::MemoryLog;
use crate::record::Record;
use crate::writer_log::{Target, WriterLogError};

#[test]
fn there_is_a_partition_for_each_group() {
    let ledgers = (0..4).map(|n| GroupSpec::of_ledgers(n, 4, 16));
    let count = ledgers.chain([GroupSpec::catalog()]).count();
    assert_eq!(i32::try_from(count), Ok(writer_partitions(4)));
}

/// A log whose reading waits for a permit.
struct Gated {
    log: MemoryLog,
    gate: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl WriterLog for Gated {
    type Transaction = <MemoryLog as WriterLog>::Transaction;
    type Reader = <MemoryLog as WriterLog>::Reader;

    fn claim(&self, id: &str, ready: &mut dyn FnMut()) -> Result<Self::Transaction, WriterLogError> {
        self.log.claim(id, ready)
    }

    fn read(
        &self,
        reader: &mut Self::Reader,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        // A closed gate lets everybody through.
        self.gate.lock().recv().ok();
        self.log.read(reader, range, each)
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.log.high_watermarks(partitions)
    }

    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.log.stable_ends(partitions)
    }

    fn topic(&self, stream: Stream) -> String {
        self.log.topic(stream)
    }

    fn log_id(&self) -> LogId {
        self.log.log_id()
    }
}

/// Of one group, the catalog's.
fn keeper() -> (Keeper<Gated>, std::sync::mpsc::Sender<()>) {
    let (open, gate) = std::sync::mpsc::channel();
    let log = Gated {
        log: MemoryLog::new(LogId::new_v7()),
        gate: Mutex::new(gate),
    };
    let own = Instance {
        address: "http://a".to_owned(),
        ..Instance::alone()
    };
    let keeper = Keeper {
        log: Arc::new(log),
        ids: Arc::new(SchemaIds::numbered()),
        bus: Bus::new(1),
        own,
        owners: Owners::default(),
        snapshots: None,
        specs: vec![GroupSpec::catalog()],
        mine: BTreeMap::new(),
        halts: Halts::default(),
        attendance: Attendance::default(),
        has_share: true,
    };
    (keeper, open)
}

fn claimed(keeper: &Keeper<Gated>, offset: i64, address: &str) {
    let position = Position {
        stream: Stream::Catalog,
        partition: 0,
        offset,
    };
    let claim = LedgerClaimed {
        instance: WriterId::new_v7(),
        address: address.to_owned(),
        group: -1,
    };
    keeper.owners.learn(position, &claim);
}

fn is_ending(keeper: &Keeper<Gated>) -> bool {
    matches!(keeper.mine.get(&0), Some(Mine::Ending(_)))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(in_time.is_ok(), "not in time: {what}");
}

#[tokio::test]
async fn no_second_writer_starts_before_the_first_has_ended() {
    let (mut keeper, gate) = keeper();
    keeper.keep(0, true);
    keeper.keep(0, false);
    assert!(is_ending(&keeper));
    // Wanted again while the former still reads.
    keeper.keep(0, true);
    assert!(is_ending(&keeper));
    drop(gate);
    until("the former has ended", || {
        keeper.keep(0, true);
        !is_ending(&keeper)
    })
    .await;
    until("the next one serves", || {
        keeper.keep(0, true);
        !keeper.bus.serving().is_empty()
    })
    .await;
    // The former never claimed.
    assert_eq!(keeper.log.log.records(Target::Event(Stream::Catalog, 0)).len(), 1);
}

/// Nobody writes to it, so that nobody is refused; and it is this instance's share all the time.
#[tokio::test]
async fn an_idle_group_that_another_took_is_taken_again() {
    let (mut keeper, gate) = keeper();
    drop(gate);
    keeper.keep(0, true);
    until("it is served", || !keeper.bus.serving().is_empty()).await;
    // On the same log, and its claim is read by whoever reads the log here.
    let other = Group::start(
        Arc::clone(&keeper.log),
        &keeper.specs[0],
        Arc::clone(&keeper.ids),
        Instance::alone(),
        Owners::default(),
    );
    let mut serving = other.status();
    serving.wait_for(|it| *it == GroupStatus::Serving).await.unwrap();
    keeper.keep(0, true);
    assert_eq!(keeper.bus.serving().len(), 1, "nothing tells of the other");
    claimed(&keeper, 2, "http://b");
    until("it gave up", || {
        keeper.keep(0, true);
        matches!(keeper.mine.get(&0), Some(Mine::Lost { .. }))
    })
    .await;
    until("it is served again", || {
        keeper.keep(0, true);
        !keeper.bus.serving().is_empty()
    })
    .await;
    let claims = keeper.log.log.records(Target::Event(Stream::Catalog, 0));
    assert_eq!(claims.len(), 3);
}

#[tokio::test]
async fn what_halted_here_rests_and_is_named_until_it_serves() {
    let (mut keeper, gate) = keeper();
    let (halted, status) = watch::channel(GroupStatus::Halted(Halt::Panicked));
    keeper.mine.insert(0, Mine::Running(status));
    keeper.keep(0, true);
    let named = vec![((Stream::Catalog, 0), halted.borrow().clone())];
    assert_eq!(keeper.bus.not_serving(), named);
    // It is not claimed again so soon, wanted or not.
    keeper.keep(0, true);
    assert!(keeper.mine.is_empty());
    keeper.halts.forget(0);
    keeper.keep(0, true);
    assert_eq!(keeper.bus.not_serving(), named, "also while it is tried again");
    drop(gate);
    until("it is served", || {
        keeper.keep(0, true);
        !keeper.bus.serving().is_empty()
    })
    .await;
    keeper.keep(0, true);
    assert_eq!(keeper.bus.not_serving(), vec![]);
}

/// Another instance that does not know how far the log went would go on from where it ends now.
#[tokio::test]
async fn a_group_whose_log_was_lost_is_not_left_to_others() {
    let (mut keeper, _gate) = keeper();
    let lost = GroupStatus::Halted(Halt::LogLost("shorter".to_owned()));
    let (_lost, status) = watch::channel(lost);
    keeper.mine.insert(0, Mine::Running(status));
    keeper.keep(0, true);
    assert!(!keeper.halts.wait_for_others(Instant::now(), |_| None));
    assert_eq!(keeper.running().count(), 1);
}

#[tokio::test]
async fn an_old_claim_at_this_address_counts_until_a_later_one_is_read() {
    let (mut keeper, _gate) = keeper();
    assert!(keeper.formerly_own().is_empty());
    claimed(&keeper, 1, "http://a");
    assert_eq!(keeper.formerly_own(), BTreeSet::from([0]));
    let (_claiming, status) = watch::channel(GroupStatus::Claiming(None));
    keeper.mine.insert(0, Mine::Running(status));
    assert_eq!(keeper.formerly_own(), BTreeSet::from([0]));
    claimed(&keeper, 2, "http://b");
    assert!(keeper.formerly_own().is_empty());
}

/// More than an address space has room for.
const IMPOSSIBLE: usize = 1 << 60;

#[tokio::test]
async fn a_writer_without_a_thread_halts_and_says_so() {
    let (keeper, _gate) = keeper();
    let thread = std::thread::Builder::new().stack_size(IMPOSSIBLE);
    let (log, ids) = (Arc::clone(&keeper.log), Arc::clone(&keeper.ids));
    let group = Group::start_in(
        thread,
        Claimant::new(keeper.own.clone(), Owners::default(), None),
        log,
        &keeper.specs[0],
        ids,
        None,
    );
    let status = group.status().borrow().clone();
    assert!(
        matches!(status, GroupStatus::Halted(Halt::NoThread(_))),
        "{status:?}"
    );
}
