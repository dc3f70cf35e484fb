//! Owners whose log or store goes silent, or fails half way.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use event_log::{
    BusError, GroupStatus, Indexed, MemoryLog, MemorySnapshots, Place, Record, Save, SaveOutcome,
    SnapshotKey, SnapshotStore, Snapshots, StateRow, StoreError, WriterLog, WriterLogError,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use schemas::{LogId, Stream};

use crate::owner::{Owner, grant};

const LONG: Duration = Duration::from_secs(60);

/// The log in memory, on a bad line.
struct BadLine {
    log: MemoryLog,
    /// So many readings fail behind what they read.
    failing: AtomicUsize,
    /// Nobody is told how far the log goes.
    is_silent: AtomicBool,
}

impl BadLine {
    fn to(log: &MemoryLog) -> Arc<Self> {
        Arc::new(Self {
            log: log.clone(),
            failing: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
        })
    }
}

impl WriterLog for BadLine {
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
        let mut read = 0;
        self.log.read(reader, range, &mut |record| {
            read += 1;
            each(record)
        })?;
        let fails = |left: usize| left.checked_sub(1);
        let is_failing = read > 0
            && self
                .failing
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails)
                .is_ok();
        if is_failing {
            Err(WriterLogError::Stalled)
        } else {
            Ok(())
        }
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        while self.is_silent.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
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

/// The claim is read once; whoever forgets it would fence the new owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_rival_that_was_seen_counts_although_the_reading_failed_behind_it() {
    let log = Arc::new(MemoryLog::new(LogId::new_v7()));
    let line = BadLine::to(&log);
    let first = Owner::claim(&line).await;
    let user = first.registered().await;
    let second = Owner::claim(&log).await;
    line.failing.store(1, Ordering::Relaxed);
    first.user(user, grant(1)).await.unwrap_err();
    let given_up = first.status.iter().map(|status| {
        let mut status = status.clone();
        async move {
            status
                .wait_for(|it| *it == GroupStatus::GivenUp)
                .await
                .map(drop)
                .unwrap()
        }
        .boxed()
    });
    let one = futures::future::select_all(given_up);
    tokio::time::timeout(LONG, one).await.unwrap();
    assert_eq!(line.failing.load(Ordering::Relaxed), 0);
    second.user(user, grant(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_does_not_come_is_waited_for_within_bounds() {
    let log = MemoryLog::new(LogId::new_v7());
    let line = BadLine::to(&log);
    let owner = Owner::claim(&line).await;
    let user = owner.registered().await;
    line.is_silent.store(true, Ordering::Relaxed);
    let question = format!(
        r#"{{"about":"aggregate","stream":"users","id":"{user}","within":{{"secs":0,"nanos":1000000}},"ask":{{"Inspect":{{"proven":true}}}}}}"#
    );
    let answer = tokio::time::timeout(LONG, owner.bus.answer(question.as_bytes())).await;
    line.is_silent.store(false, Ordering::Relaxed);
    let answer: Result<serde_json::Value, BusError<domain::user::Error>> =
        serde_json::from_slice(&answer.unwrap().unwrap()).unwrap();
    assert_eq!(answer, Err(BusError::NotApplied));
}

/// Takes the question how far it goes, and never answers.
struct Silent(MemorySnapshots);

impl SnapshotStore for Silent {
    fn load(&self, _: Place) -> BoxFuture<'_, Result<Option<Indexed>, StoreError>> {
        futures::future::pending().boxed()
    }

    fn fetch(&self, place: Place, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<StateRow>, StoreError>> {
        self.0.fetch(place, ids)
    }

    fn save(&self, place: Place, save: Save) -> BoxFuture<'_, Result<SaveOutcome, StoreError>> {
        self.0.save(place, save)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_holds_up_no_owner_for_ever() {
    let log = Arc::new(MemoryLog::new(LogId::new_v7()));
    let (store, soon) = (
        Arc::new(Silent(MemorySnapshots::default())),
        Duration::from_millis(5),
    );
    let snapshots = Snapshots::new(store, SnapshotKey::new(&[1; 32]), 10);
    let owner = Owner::start_from(&log, Some(&snapshots.patience(soon).silence(soon)));
    tokio::time::timeout(LONG, owner.serves()).await.unwrap();
    owner.registered().await;
}
