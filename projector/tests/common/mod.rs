//! A log in memory, histories to fill it with, and databases to project into.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, reason = "only tests use this")]

pub mod history;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use event_log::{Record, TailError, TailItem, Topics};
use projector::{Known, Lane, Log, Tail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::{ChainHead, Event, LogId, Meta, SchemaIds, Stream, frame};

pub const TOPICS: &str = "test";

/// Records by partition. Tails give partitions in a random order of chunks.
#[derive(Clone, Default)]
pub struct VecLog {
    pub lanes: Arc<BTreeMap<Lane, Vec<Record>>>,
    pub seed: u64,
    pub chunk: usize,
}

/// Builds a log, keeping each partition's chain.
pub struct LogBuilder {
    pub lanes: BTreeMap<Lane, Vec<Record>>,
    heads: BTreeMap<Lane, (i64, ChainHead)>,
    ids: SchemaIds,
}

impl Default for LogBuilder {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            heads: BTreeMap::new(),
            ids: SchemaIds::numbered(),
        }
    }
}

impl LogBuilder {
    /// Appends with offset gaps, as transaction markers leave them. Gives the offset.
    pub fn append(&mut self, lane: Lane, mut meta: Meta, event: &Event, gap: i64) -> i64 {
        let (next, head) = self.heads.get(&lane).copied().unwrap_or((0, ChainHead::START));
        let offset = next + gap;
        (meta.chain_seq, meta.prev_hash) = (head.next_seq, head.hash);
        let event_type = event.event_type();
        let value = frame(self.ids.id_of(event_type).unwrap(), &event.encode(&meta).unwrap());
        let key = meta.aggregate_id.into_bytes();
        let head = head.after(&Topics::new(TOPICS).of(lane.0), lane.1, &key, &value);
        self.heads.insert(lane, (offset + 1, head));
        let (stream, partition) = lane;
        let record = Record {
            stream,
            partition,
            offset,
            timestamp_ms: 0,
            key,
            value,
            event_type,
            headers: vec![],
        };
        self.lanes.entry(lane).or_default().push(record);
        offset
    }

    pub fn build(self, seed: u64, chunk: usize) -> VecLog {
        VecLog {
            lanes: Arc::new(self.lanes),
            seed,
            chunk,
        }
    }
}

impl VecLog {
    pub fn known(ledgers: i32) -> Known {
        Known {
            log_id: LogId::from_uuid(uuid::Uuid::from_u128(7)),
            ledgers,
            schema_ids: SchemaIds::numbered(),
        }
    }

    pub fn interleaved(&self, seed: u64, chunk: usize) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
            seed,
            chunk,
        }
    }

    /// Behind the last record of each partition.
    pub fn ends(&self) -> std::collections::HashMap<Lane, i64> {
        self.lanes
            .iter()
            .filter_map(|(lane, records)| Some((*lane, records.last()?.offset + 1)))
            .collect()
    }

    pub fn events(&self) -> usize {
        self.lanes.values().map(Vec::len).sum()
    }
}

impl Log for VecLog {
    type Tail = VecTail;

    fn open(&self, start: &[(Stream, i32, i64)]) -> Result<VecTail, TailError> {
        let at = start.iter().map(|&(stream, partition, offset)| {
            let records = self
                .lanes
                .get(&(stream, partition))
                .map_or(&[][..], Vec::as_slice);
            (
                (stream, partition),
                records.partition_point(|record| record.offset < offset),
                false,
            )
        });
        let rng = StdRng::seed_from_u64(self.seed);
        Ok(VecTail {
            log: self.clone(),
            at: at.collect(),
            rng,
            paused: Mutex::default(),
        })
    }

    fn topics(&self) -> Topics {
        Topics::new(TOPICS)
    }
}

pub struct VecTail {
    log: VecLog,
    at: Vec<(Lane, usize, bool)>,
    rng: StdRng,
    paused: Mutex<HashSet<Lane>>,
}

impl Tail for VecTail {
    async fn next(&mut self, max: usize) -> Result<Vec<TailItem>, TailError> {
        tokio::task::yield_now().await; // before anything is taken: a dropped call loses nothing
        loop {
            let paused = self.paused.lock().unwrap().clone();
            let open: Vec<usize> = (0..self.at.len())
                .filter(|&i| !self.at[i].2 && !paused.contains(&self.at[i].0))
                .collect();
            if open.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                continue;
            }
            let chosen = open[self.rng.random_range(0..open.len())];
            let (lane, index, ended) = &mut self.at[chosen];
            let records = self.log.lanes.get(lane).map_or(&[][..], Vec::as_slice);
            let until = (*index + self.log.chunk.min(max)).min(records.len());
            let mut items: Vec<_> = records[*index..until]
                .iter()
                .cloned()
                .map(TailItem::Record)
                .collect();
            *index = until;
            if until == records.len() {
                *ended = true;
                let next_offset = records.last().map_or(0, |record| record.offset + 2);
                items.push(TailItem::End {
                    stream: lane.0,
                    partition: lane.1,
                    next_offset,
                });
            }
            return Ok(items);
        }
    }

    fn pause(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        self.paused.lock().unwrap().insert((stream, partition));
        Ok(())
    }

    fn resume(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        self.paused.lock().unwrap().remove(&(stream, partition));
        Ok(())
    }
}

/// PostgreSQL alone, with some databases.
pub async fn databases(count: usize) -> (local_stack::Stack, Vec<String>) {
    let builder = local_stack::Stack::builder()
        .kafka_nodes(0)
        .registry(false)
        .redis(false)
        .shards(count);
    service_kit::telemetry::init_logging().unwrap();
    let stack = builder.start().await.unwrap();
    let dsns = stack.shard_dsns();
    (stack, dsns)
}

pub async fn empty(pool: &sqlx::PgPool) {
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .execute(pool)
        .await
        .unwrap();
}
