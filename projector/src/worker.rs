//! One worker for each topic partition on each shard that holds it: takes records in order, applies
//! those whose basis is applied, and halts at what can never be applied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_log::Record;
use read_model::checkpoint::{self, Checkpoint};
use schemas::catalog::CatalogEvent;
use schemas::log::LogEvent;
use schemas::{Event, Stream};
use tokio::sync::Notify;

use crate::apply::{ApplyError, Backoff, Target, chain};
use crate::decode::{self, Decoded};
use crate::inbox::{Inbox, Item};
use crate::progress::{Changes, Lane};
use crate::projections::Place;
use crate::shard::ShardContext;

/// Most events in one transaction.
pub const MAX_BATCH: usize = 4096;

/// A batch that is tried again for so long tells that the shard is down.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// How often one that is held looks whether it may go on.
const HELD: Duration = Duration::from_millis(20);

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Shutdown,
    /// It applied everything before the position it was to stop at.
    Finished,
    Halted,
    /// The checkpoint is not where this worker left it: another projector moved it, or the database
    /// went back in time, as a restored backup does.
    Fenced,
}

pub struct Worker {
    pub shard: Arc<ShardContext>,
    pub lane: Lane,
    pub topic: String,
    pub place: Arc<Place>,
    pub inbox: Inbox,
    /// Told after each batch: there is room again.
    pub drained: Arc<Notify>,
    pub checkpoint: Checkpoint,
    /// Stop before this offset.
    pub stop_at: Option<i64>,
    /// Most events in the next transaction: fewer while a failing one is searched.
    pub batch_limit: usize,
    pub max_batch: usize,
    pub pending: Pending,
    /// A failure row of an earlier run stands in the database.
    pub had_failure: bool,
}

/// Records taken in and not yet applied.
#[derive(Default)]
pub struct Pending {
    events: VecDeque<Arc<Decoded>>,
    /// Offset behind the last record, where markers lie there.
    end: Option<i64>,
    fault: Option<(i64, String)>,
    finished: bool,
}

enum Step {
    Again,
    End(Ended),
}

impl Worker {
    pub async fn run(mut self) -> Ended {
        let mut changes = self.shard.progress.subscribe();
        if self
            .stop_at
            .is_some_and(|stop| self.checkpoint.next_offset >= stop)
        {
            self.pending.finished = true;
        }
        let shutdown = self.shard.shutdown.clone();
        loop {
            let step = tokio::select! {
                biased;
                () = shutdown.cancelled() => Step::End(Ended::Shutdown),
                step = self.step(&mut changes) => step,
            };
            if let Step::End(ended) = step {
                if ended == Ended::Finished {
                    self.shard.progress.finished(self.lane);
                }
                return ended;
            }
        }
    }

    async fn step(&mut self, changes: &mut Changes) -> Step {
        changes.mark_seen();
        let bases = self
            .pending
            .events
            .iter()
            .map(|event| event.stored.meta.basis.as_slice());
        let ready = self.shard.progress.ready(self.lane, bases).min(self.batch_limit);
        if ready > 0 {
            return self.apply(ready).await;
        }
        if self.pending.events.is_empty() {
            if let Some((offset, reason)) = self.pending.fault.take() {
                return self.halt(offset, &reason).await;
            }
            if let Some(end) = self.pending.end.take() {
                self.shard.progress.reached(self.lane, end);
            }
            if self.pending.finished {
                return Step::End(Ended::Finished);
            }
            self.receive().await
        } else {
            if let Some(next) = self.pending.events.front() {
                self.shard.progress.reached(self.lane, next.offset);
            }
            changes.wait().await;
            Step::Again
        }
    }

    async fn receive(&mut self) -> Step {
        let items = self.inbox.take().await;
        if items.is_empty() {
            return Step::End(Ended::Shutdown);
        }
        self.drained.notify_one();
        let mut head = self.checkpoint.chain;
        for item in items {
            if self.pending.fault.is_some() || self.pending.finished {
                break;
            }
            match item {
                Item::Record(record) => {
                    if self.stop_at.is_some_and(|stop| record.offset >= stop) {
                        self.pending.finished = true;
                    } else {
                        head = self.take(&record, head).await;
                    }
                }
                Item::End(next) => {
                    self.pending.end = Some(next);
                    self.pending.finished = self.stop_at.is_some_and(|stop| next >= stop);
                }
                Item::Broken { offset, reason } => {
                    let offset = offset.unwrap_or_else(|| self.next_offset());
                    if self.stop_at.is_some_and(|stop| offset >= stop) {
                        self.pending.finished = true;
                    } else {
                        self.pending.fault = Some((offset, reason));
                    }
                }
            }
        }
        Step::Again
    }

    /// Decodes a record behind those pending. A type that the catalog has not registered yet is
    /// waited for: the event may be read before the catalog's.
    async fn take(&mut self, record: &Record, head: schemas::ChainHead) -> schemas::ChainHead {
        let mut ids = self.shard.schema_ids.subscribe();
        if self.lane.0 != Stream::Catalog {
            let known = ids.wait_for(|ids| ids.id_of(record.event_type).is_ok()).await;
            drop(known);
        }
        let read = decode::read(record, &self.topic, head, &self.shard.schema_ids.borrow());
        match read {
            Ok(event) => {
                self.learn(&event);
                let chain = event.chain;
                self.pending.events.push_back(Arc::new(event));
                self.pending.end = None;
                chain
            }
            Err(error) => {
                self.pending.fault = Some((record.offset, chain(&error)));
                head
            }
        }
    }

    fn learn(&self, event: &Decoded) {
        if let Event::Catalog(CatalogEvent::ShardMapChanged(map)) = &event.stored.data {
            self.shard.learn_map(map);
        }
        if let Event::Log(LogEvent::SchemaRegistered(registered)) = &event.stored.data {
            self.shard.schema_ids.send_if_modified(|ids| {
                let mut after = ids.clone();
                if let Err(error) = after.learn(registered) {
                    // Records of that type will halt their partition; the registration alone harms nobody.
                    tracing::warn!(%error, "The log uses a schema that this projector does not know: {error}");
                }
                std::mem::replace(ids, after) != *ids
            });
        }
    }

    fn next_offset(&self) -> i64 {
        self.pending
            .events
            .back()
            .map_or(self.checkpoint.next_offset, |event| event.offset + 1)
    }

    /// Applies the first `count` pending events.
    async fn apply(&mut self, count: usize) -> Step {
        let Some(after) = self.after(count) else {
            return Step::Again;
        };
        let started = Instant::now();
        let mut outcome = self.attempt(count, &after).await;
        if let Err(ApplyError::Transient(reason)) = &outcome {
            let reason = reason.clone();
            outcome = self.retry(count, &after, reason).await;
        }
        match outcome {
            Ok(()) => self.applied(count, after, started.elapsed()),
            Err(ApplyError::Fenced(reason)) => {
                self.shard.status.fenced(self.lane, &reason);
                Step::End(Ended::Fenced)
            }
            Err(ApplyError::Held(at)) => self.hold(at).await,
            Err(ApplyError::Permanent(reason) | ApplyError::Transient(reason)) => {
                self.narrow(count, reason).await
            }
        }
    }

    /// Tries until the outcome is certain; the shard counts as down while that takes long.
    async fn retry(&self, count: usize, after: &Checkpoint, reason: String) -> Result<(), ApplyError> {
        let trying = self.try_on(count, after, reason.clone());
        tokio::pin!(trying);
        if let Ok(outcome) = tokio::time::timeout(STUCK_AFTER, &mut trying).await {
            return outcome;
        }
        self.shard.status.stuck(self.lane, &reason);
        let outcome = trying.await;
        self.shard.status.unstuck(self.lane);
        outcome
    }

    async fn try_on(&self, count: usize, after: &Checkpoint, mut reason: String) -> Result<(), ApplyError> {
        let mut backoff = Backoff::default();
        loop {
            tracing::warn!(
                topic = self.topic,
                partition = self.lane.1,
                reason,
                "Trying a batch again: {reason}"
            );
            self.shard.status.retried(self.lane);
            tokio::time::sleep(backoff.next_wait()).await;
            let outcome = match self.settle(after).await {
                Ok(true) => Ok(()),
                Ok(false) => self.attempt(count, after).await,
                Err(error) => Err(error),
            };
            match outcome {
                Err(ApplyError::Transient(again)) => reason = again,
                outcome => return outcome,
            }
        }
    }

    fn after(&self, count: usize) -> Option<Checkpoint> {
        let last = self.pending.events.get(count.checked_sub(1)?)?;
        Some(Checkpoint {
            next_offset: last.offset + 1,
            chain: last.chain,
            updated_at: Some(last.stored.meta.occurred_at),
        })
    }

    /// In a task, that a worker which is stopped leaves alone: dropped while it begins, a transaction would
    /// stay open on a connection of the pool, and what follows there would never be committed.
    async fn attempt(&self, count: usize, after: &Checkpoint) -> Result<(), ApplyError> {
        let (shard, place) = (Arc::clone(&self.shard), Arc::clone(&self.place));
        let (topic, partition) = (self.topic.clone(), self.lane.1);
        let events: Vec<Arc<Decoded>> = self.pending.events.iter().take(count).cloned().collect();
        let (before, after, clear_failure) = (self.checkpoint.next_offset, *after, self.had_failure);
        let applying = self.shard.applying.spawn(async move {
            let target = Target {
                pool: &shard.pool,
                months: &shard.upkeep.audit,
                place: &place,
                topic: &topic,
                partition,
            };
            let events: Vec<&Decoded> = events.iter().map(Arc::as_ref).collect();
            target.apply(&events, before, &after, clear_failure).await
        });
        match applying.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(ApplyError::Transient(chain(&error))),
        }
    }

    /// After an unclear outcome: whether the commit went through after all.
    async fn settle(&self, after: &Checkpoint) -> Result<bool, ApplyError> {
        let found = checkpoint::load(&self.shard.pool, &self.topic, self.lane.1).await?;
        if found == *after {
            return Ok(true);
        }
        if found.next_offset == self.checkpoint.next_offset {
            return Ok(false);
        }
        Err(ApplyError::Fenced(format!(
            "the checkpoint stands at {}",
            found.next_offset
        )))
    }

    fn applied(&mut self, count: usize, after: Checkpoint, took: Duration) -> Step {
        self.pending.events.drain(..count);
        self.checkpoint = after;
        self.had_failure = false;
        self.inbox.committed();
        self.batch_limit = self.batch_limit.saturating_mul(2).min(self.max_batch);
        self.shard.progress.applied(self.lane, after.next_offset);
        self.shard
            .status
            .applied(self.lane, count, after.next_offset, took);
        self.drained.notify_one();
        Step::Again
    }

    /// Goes on up to there; for a copy that somebody compares with another.
    async fn hold(&mut self, at: i64) -> Step {
        let below = self.pending.events.iter().take_while(|event| event.offset < at);
        match below.count() {
            0 => tokio::time::sleep(HELD).await,
            below => self.batch_limit = below,
        }
        Step::Again
    }

    /// A batch failed for good: goes on with half of it, until the one event is found that fails.
    async fn narrow(&mut self, count: usize, reason: String) -> Step {
        if count > 1 {
            self.batch_limit = count / 2;
            return Step::Again;
        }
        // Then it is no fault of the event that rows it refers to are not there.
        if self.shard.may_be_set_back().await {
            self.shard.status.fenced(self.lane, "the database was set back");
            return Step::End(Ended::Fenced);
        }
        let offset = self.pending.events.front().map_or(0, |event| event.offset);
        self.halt(offset, &reason).await
    }

    async fn halt(&self, offset: i64, reason: &str) -> Step {
        self.shard.status.halted(self.lane, offset, reason);
        self.shard.progress.halted(self.lane);
        let mut backoff = Backoff::default();
        let (pool, topic) = (&self.shard.pool, self.topic.as_str());
        while let Err(error) = checkpoint::record_failure(pool, topic, self.lane.1, offset, reason).await {
            if !matches!(ApplyError::from(error), ApplyError::Transient(_)) {
                break;
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
        Step::End(Ended::Halted)
    }
}
