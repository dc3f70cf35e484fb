//! The log in memory, whose calls pause and fail as a seed says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_log::{
    CommitError, Committed, MemoryLog, Outgoing, Record, Target, WriterLog, WriterLogError, WriterTransaction,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use schemas::{LogId, Stream};

use crate::owner::specs;

type Inner = <MemoryLog as WriterLog>::Transaction;
/// Records whose sender has given up waiting, with the epoch that they were sent in.
type Late = (Arc<Mutex<Inner>>, Vec<Outgoing>);

pub struct ScriptedLog {
    log: MemoryLog,
    script: Arc<Script>,
}

struct Script {
    dice: Mutex<StdRng>,
    faulty: AtomicBool,
    late: Mutex<Vec<Late>>,
    /// How far each partition's markers stand for certain: at the last fencing, or as was told since.
    settled: Mutex<BTreeMap<(Stream, i32), i64>>,
}

impl ScriptedLog {
    pub fn new(seed: u64) -> Self {
        let script = Script {
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            faulty: AtomicBool::new(false),
            late: Mutex::default(),
            settled: Mutex::default(),
        };
        Self {
            log: MemoryLog::new(LogId::new_v7()),
            script: Arc::new(script),
        }
    }

    pub fn be_faulty(&self) {
        self.script.faulty.store(true, Ordering::Relaxed);
    }

    pub fn be_well(&self) {
        self.script.faulty.store(false, Ordering::Relaxed);
    }

    /// As the log has it, and no call of an owner's.
    fn end(&self, place: (Stream, i32)) -> i64 {
        self.log.high_watermarks(&[place]).unwrap()[0]
    }

    /// Markers may come later than what they are of: where a transaction begins that may still lack one, or the end.
    fn stable_end(&self, place: (Stream, i32)) -> i64 {
        let end = self.end(place);
        let records = self.log.records(Target::Event(place.0, place.1));
        let is_marker = |offset: i64| records.iter().all(|(it, _)| *it != offset);
        let mut settled = self.script.settled.lock();
        let settled = settled.entry(place).or_default();
        let starts = (*settled..=end).filter(|&it| it == *settled || is_marker(it - 1));
        let told = if self.script.happens(0.5) {
            starts.choose(&mut *self.script.dice.lock()).unwrap_or(end)
        } else {
            end
        };
        *settled = told.max(*settled);
        told
    }

    /// Whatever is still under way arrives now.
    pub fn deliver_late(&self) {
        self.script.deliver();
    }
}

impl Script {
    fn happens(&self, probability: f64) -> bool {
        self.faulty.load(Ordering::Relaxed) && self.dice.lock().random_bool(probability)
    }

    /// Anything may happen between two calls of one owner: a pause, the arrival of what is late.
    fn pause(&self) {
        if self.happens(0.3) {
            let micros = self.dice.lock().random_range(0..8_000);
            std::thread::sleep(Duration::from_micros(micros));
        }
        if self.happens(0.5) {
            self.deliver();
        }
    }

    fn deliver(&self) {
        let late = std::mem::take(&mut *self.late.lock());
        for (transaction, records) in late {
            // Refused if the epoch is over; nobody waits for the answer either way.
            drop(transaction.lock().commit(&records));
        }
    }

    fn stall(&self) -> Result<(), WriterLogError> {
        self.pause();
        if self.happens(0.03) {
            return Err(WriterLogError::Stalled);
        }
        Ok(())
    }
}

impl WriterLog for ScriptedLog {
    type Transaction = ScriptedTransaction;
    type Reader = <MemoryLog as WriterLog>::Reader;

    fn claim(&self, id: &str, ready: &mut dyn FnMut()) -> Result<ScriptedTransaction, WriterLogError> {
        self.script.stall()?;
        let inner = Arc::new(Mutex::new(self.log.claim(id, ready)?));
        let group = specs()
            .into_iter()
            .find(|it| it.transactional_id() == id)
            .unwrap();
        for place in group.partitions {
            let end = self.end(place);
            self.script.settled.lock().insert(place, end);
        }
        // Fenced the others, and died of it.
        self.script.stall()?;
        Ok(ScriptedTransaction {
            inner,
            script: Arc::clone(&self.script),
        })
    }

    fn read(
        &self,
        reader: &mut Self::Reader,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        self.script.stall()?;
        self.log.read(reader, range, each)
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.script.stall()?;
        let ends = self.log.high_watermarks(partitions);
        self.script.pause();
        ends
    }

    /// From a broker for each.
    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        let one = |&place| {
            self.script.stall()?;
            Ok(self.stable_end(place))
        };
        partitions.iter().map(one).collect()
    }

    fn topic(&self, stream: Stream) -> String {
        self.log.topic(stream)
    }

    fn log_id(&self) -> LogId {
        self.log.log_id()
    }
}

pub struct ScriptedTransaction {
    inner: Arc<Mutex<Inner>>,
    script: Arc<Script>,
}

impl WriterTransaction for ScriptedTransaction {
    fn commit(&mut self, records: &[Outgoing]) -> Result<Committed, CommitError> {
        self.script.pause();
        let unclear = |what: &str| Err(CommitError::Unclear(what.to_owned()));
        if self.script.happens(0.06) {
            return unclear("lost");
        }
        if self.script.happens(0.06) {
            let late = (Arc::clone(&self.inner), records.to_vec());
            self.script.late.lock().push(late);
            return unclear("late");
        }
        let outcome = self.inner.lock().commit(records);
        self.script.pause();
        if outcome.is_ok() && self.script.happens(0.06) {
            return unclear("unheard");
        }
        outcome
    }
}
