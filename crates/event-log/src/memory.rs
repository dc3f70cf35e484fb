//! The log in memory: what Kafka promises to writers, for tests and in-process use.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::{LogId, Stream, ce, parse_data_schema};

use crate::record::{DecodeError, Record};
use crate::writer_log::{
    CommitError, Committed, Outgoing, Target, WriterLog, WriterLogError, WriterTransaction,
};

/// Shared by all who read and write it. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    log_id: LogId,
}

#[derive(Default)]
struct State {
    /// Records by place; a `None` is a transaction marker, which takes an offset too.
    partitions: BTreeMap<Target, Vec<Option<Outgoing>>>,
    epochs: HashMap<String, u64>,
    failures: Vec<Failure>,
    clock_ahead_ms: i64,
    read: usize,
}

/// A fault to come up at the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The records are committed, but the answer is lost.
    AfterCommit,
    /// Nothing is committed, and the answer is lost.
    BeforeCommit,
}

impl MemoryLog {
    pub fn new(log_id: LogId) -> Self {
        Self {
            state: Arc::default(),
            log_id,
        }
    }

    /// The next commits fail like this, first one first.
    pub fn fail_next(&self, failures: &[Failure]) {
        self.state.lock().failures.extend_from_slice(failures);
    }

    /// From now on its owners' clocks are this far ahead of the log's.
    pub fn set_clock_ahead(&self, milliseconds: i64) {
        self.state.lock().clock_ahead_ms = milliseconds;
    }

    /// Records that owners have read so far.
    pub fn records_read(&self) -> usize {
        self.state.lock().read
    }

    /// Records of a partition with their offsets.
    pub fn records(&self, target: Target) -> Vec<(i64, Outgoing)> {
        let state = self.state.lock();
        let records = state.partitions.get(&target).into_iter().flatten();
        (0..)
            .zip(records)
            .filter_map(|(offset, record)| Some((offset, record.clone()?)))
            .collect()
    }
}

impl WriterLog for MemoryLog {
    type Transaction = MemoryTransaction;
    type Reader = ();

    fn claim(
        &self,
        transactional_id: &str,
        ready: &mut dyn FnMut(),
    ) -> Result<MemoryTransaction, WriterLogError> {
        ready();
        let mut state = self.state.lock();
        let epoch = state.epochs.entry(transactional_id.to_owned()).or_default();
        *epoch += 1;
        Ok(MemoryTransaction {
            log: self.clone(),
            id: transactional_id.to_owned(),
            epoch: *epoch,
        })
    }

    fn read(
        &self,
        (): &mut (),
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        for &(stream, partition, from, until) in range {
            for (offset, record) in self.records(Target::Event(stream, partition)) {
                if !(from..until).contains(&offset) {
                    continue;
                }
                self.state.lock().read += 1;
                if let ControlFlow::Break(error) = each(to_record(stream, partition, offset, record)?) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn high_watermarks(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        let state = self.state.lock();
        Ok(partitions
            .iter()
            .map(|&(stream, partition)| {
                let length = state
                    .partitions
                    .get(&Target::Event(stream, partition))
                    .map_or(0, Vec::len);
                i64::try_from(length).unwrap_or(i64::MAX)
            })
            .collect())
    }

    /// Nothing stays open here.
    fn stable_ends(&self, partitions: &[(Stream, i32)]) -> Result<Vec<i64>, WriterLogError> {
        self.high_watermarks(partitions)
    }

    fn topic(&self, stream: Stream) -> String {
        format!("memory.{}", stream.name())
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }
}

pub(crate) fn to_record(
    stream: Stream,
    partition: i32,
    offset: i64,
    record: Outgoing,
) -> Result<Record, WriterLogError> {
    let event_type = record
        .headers
        .iter()
        .find(|(name, _)| *name == ce::DATA_SCHEMA)
        .ok_or(schemas::HeaderError::Missing(ce::DATA_SCHEMA))
        .and_then(|(_, value)| parse_data_schema(value.as_bytes()))
        .map_err(|source| DecodeError::Header {
            stream,
            partition,
            offset,
            source,
        })?;
    Ok(Record {
        stream,
        partition,
        offset,
        timestamp_ms: 0,
        key: record.key,
        value: record.value,
        event_type,
        headers: Vec::new(),
    })
}

/// A claimed id of a [`MemoryLog`].
pub struct MemoryTransaction {
    log: MemoryLog,
    id: String,
    epoch: u64,
}

impl WriterTransaction for MemoryTransaction {
    fn commit(&mut self, records: &[Outgoing]) -> Result<Committed, CommitError> {
        let mut state = self.log.state.lock();
        if state.epochs.get(&self.id) != Some(&self.epoch) {
            return Err(CommitError::Fenced);
        }
        let failure = if state.failures.is_empty() {
            None
        } else {
            Some(state.failures.remove(0))
        };
        if failure == Some(Failure::BeforeCommit) {
            return Err(CommitError::Unclear("made to fail before the commit".to_owned()));
        }
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let partition = state.partitions.entry(record.target).or_default();
            offsets.push(i64::try_from(partition.len()).unwrap_or(i64::MAX));
            partition.push(Some(record.clone()));
        }
        let mut touched: Vec<Target> = records.iter().map(|record| record.target).collect();
        touched.sort_unstable();
        touched.dedup();
        for target in touched {
            state.partitions.entry(target).or_default().push(None);
        }
        match failure {
            None => Ok(Committed {
                offsets,
                clock_ahead_ms: state.clock_ahead_ms,
            }),
            Some(_) => Err(CommitError::Unclear("made to fail after the commit".to_owned())),
        }
    }
}
