//! The thread of a writer group: takes over, commits batch after batch, settles doubts.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::log::LogEvent;
use schemas::{Event, EventId, Meta, Position, Stored, Stream, Timestamp, WriterId};
use tokio::sync::{mpsc, watch};

use crate::group::GroupStatus;
use crate::group_log::{Append, AppendError, GroupLog, Prepared};
use crate::ledger::Ledger;
use crate::settle::{self, ClaimError};
use crate::writer_log::{CommitError, WriterLog, WriterLogError, WriterTransaction};

/// Appends in one transaction.
const BATCH: usize = 512;
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Worker<L: WriterLog> {
    pub log: Arc<L>,
    pub id: String,
    pub number: i32,
    pub instance: WriterId,
    pub heads: GroupLog,
    pub ledgers: BTreeMap<(Stream, i32), Arc<Ledger>>,
    pub queue: mpsc::Receiver<Append>,
    pub status: watch::Sender<GroupStatus>,
    pub claimed_before: bool,
    /// Appends that came while the group was claimed, oldest first.
    pub backlog: VecDeque<Append>,
    /// Events read while appends were in doubt, by id.
    pub found: HashMap<EventId, (Meta, Position)>,
}

/// Appends whose transaction had no clear end, with the metas they were written under.
type InDoubt = Vec<(Append, Vec<Meta>)>;

enum Doubt {
    /// Answers that need no proof any more.
    Closed,
    Unclear(InDoubt),
    Fenced(InDoubt),
}

impl<L: WriterLog> Worker<L> {
    pub(crate) fn run(mut self) {
        let mut in_doubt = InDoubt::new();
        loop {
            let Some(transaction) = self.take_over(&mut in_doubt) else {
                return;
            };
            self.status.send_replace(GroupStatus::Serving);
            match self.serve(transaction) {
                Doubt::Closed => {
                    self.status.send_replace(GroupStatus::GivenUp);
                    return;
                }
                Doubt::Unclear(pending) => in_doubt = pending,
                Doubt::Fenced(pending) => {
                    in_doubt = pending;
                    // A rival needs time to write its claim before one looks for it.
                    std::thread::sleep(BACKOFF.mul_f64(1.0 + 9.0 * rand::random::<f64>()));
                }
            }
            self.status.send_replace(GroupStatus::Claiming(None));
        }
    }

    /// The procedure of [`settle`], again until it succeeds; `None` ends the group here.
    fn take_over(&mut self, in_doubt: &mut InDoubt) -> Option<L::Transaction> {
        let mut wait = BACKOFF;
        loop {
            let error = match self.try_take_over(in_doubt) {
                Ok(Some(transaction)) => return Some(transaction),
                Ok(None) => {
                    self.end(in_doubt, GroupStatus::GivenUp);
                    return None;
                }
                Err(error) => error,
            };
            if let ClaimError::Log(
                WriterLogError::BrokenChain { .. }
                | WriterLogError::SetBack { .. }
                | WriterLogError::Decode(_),
            ) = &error
            {
                tracing::error!(
                    group = self.number,
                    error = &error as &dyn std::error::Error,
                    "Writer group {} halts: {error}",
                    self.number
                );
                self.end(in_doubt, GroupStatus::Halted(error.to_string()));
                return None;
            }
            tracing::warn!(
                group = self.number,
                "Claiming writer group {}: {error}; trying again",
                self.number
            );
            self.status
                .send_replace(GroupStatus::Claiming(Some(error.to_string())));
            if self.queue.is_closed() && self.queue.is_empty() {
                self.end(in_doubt, GroupStatus::GivenUp);
                return None;
            }
            self.expire();
            std::thread::sleep(wait.mul_f64(0.5 + rand::random::<f64>()));
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Answers those whose deadline passed while the group could not be claimed: they were never
    /// written, so "not applied" is certain.
    fn expire(&mut self) {
        while let Ok(append) = self.queue.try_recv() {
            self.backlog.push_back(append);
        }
        let now = Instant::now();
        for append in std::mem::take(&mut self.backlog) {
            if append.deadline < now {
                append.answer(Err(AppendError::Expired));
            } else {
                self.backlog.push_back(append);
            }
        }
    }

    fn try_take_over(&mut self, in_doubt: &mut InDoubt) -> Result<Option<L::Transaction>, ClaimError> {
        let Self {
            log,
            heads,
            ledgers,
            found,
            instance,
            claimed_before,
            ..
        } = self;
        let instance = *instance;
        let foreign = Cell::new(false);
        let mut each = |stored: Stored<Event>, position: Position| {
            if *claimed_before {
                // Only the metas of one's own events in doubt matter, and a rival's claim.
                foreign.set(foreign.get() || is_foreign_claim(&stored.data, instance));
                found.insert(stored.meta.event_id, (stored.meta, position));
            } else {
                // First claim: the whole history goes into memory.
                let ledger = ledgers.get(&(position.stream, position.partition));
                if ledger.is_some_and(|ledger| ledger.replay(stored, position).is_break()) {
                    tracing::error!(?position, "An aggregate was in use while its ledger was read");
                }
            }
        };
        if *claimed_before {
            // Step 1: look before fencing, so that two owners do not fence each other for ever.
            settle::read_on(&**log, heads, instance, &mut each)?;
            if foreign.get() {
                self.answer(in_doubt);
                return Ok(None);
            }
        }
        let mut transaction = settle::fence_and_read(&**log, heads, &self.id, instance, &mut each)?;
        // Everything is read that ever can be there, whether the claim now succeeds or not.
        self.answer(in_doubt);
        if foreign.get() {
            return Ok(None);
        }
        settle::write_claim(&mut transaction, &mut self.heads, self.number, instance)?;
        self.claimed_before = true;
        Ok(Some(transaction))
    }

    /// Settles what the log now proves.
    fn answer(&mut self, in_doubt: &mut InDoubt) {
        for (append, metas) in in_doubt.drain(..) {
            let placed: Vec<(Meta, Position)> = metas
                .iter()
                .filter_map(|meta| self.found.remove(&meta.event_id))
                .collect();
            if placed.len() == metas.len() && !metas.is_empty() {
                append.answer(Ok(placed));
            } else {
                append.answer(Err(AppendError::NotApplied));
            }
        }
        self.found.clear();
    }

    fn end(&mut self, in_doubt: &mut InDoubt, status: GroupStatus) {
        self.status.send_replace(status);
        for (append, _) in in_doubt.drain(..) {
            append.answer(Err(AppendError::OutcomeUnknown));
        }
        self.queue.close();
        for append in self.backlog.drain(..) {
            append.answer(Err(AppendError::NotOwner));
        }
        while let Ok(append) = self.queue.try_recv() {
            append.answer(Err(AppendError::NotOwner));
        }
    }

    /// Commits batch after batch until the queue closes or a commit has no clear end.
    fn serve(&mut self, mut transaction: L::Transaction) -> Doubt {
        loop {
            let mut batch: Vec<Append> = self.backlog.drain(..).collect();
            if batch.is_empty() {
                let Some(first) = self.queue.blocking_recv() else {
                    return Doubt::Closed;
                };
                batch.push(first);
            }
            while batch.len() < BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            if let Some(doubt) = self.commit(&mut transaction, batch) {
                return doubt;
            }
        }
    }

    fn commit(&mut self, transaction: &mut L::Transaction, batch: Vec<Append>) -> Option<Doubt> {
        let (prepared, appends) = self.prepare(batch);
        metrics::histogram!("ledger_batch_commands").record(appends.len() as f64);
        if prepared.outgoing.is_empty() {
            return self.prove_ownership(appends);
        }
        let started = Instant::now();
        let outcome = transaction.commit(&prepared.outgoing);
        metrics::histogram!("ledger_commit_seconds").record(started.elapsed().as_secs_f64());
        let outcome = outcome.and_then(|committed| self.heads.require_behind(&prepared, committed));
        match outcome {
            Ok(committed) => {
                let mut placed = self.heads.committed(prepared, &committed).into_iter();
                for append in appends {
                    let own = placed.by_ref().take(append.events.len()).collect();
                    append.answer(Ok(own));
                }
                None
            }
            Err(error) => {
                tracing::warn!(
                    group = self.number,
                    "Commit of writer group {}: {error}",
                    self.number
                );
                let mut metas = prepared.metas.into_iter().map(|(_, meta)| meta);
                let pending = appends
                    .into_iter()
                    .map(|append| {
                        let own = metas.by_ref().take(append.events.len()).collect();
                        (append, own)
                    })
                    .collect();
                Some(match error {
                    CommitError::Fenced => Doubt::Fenced(pending),
                    CommitError::Unclear(_) => Doubt::Unclear(pending),
                })
            }
        }
    }

    /// Chains what can be committed; answers what cannot.
    fn prepare(&self, batch: Vec<Append>) -> (Prepared, Vec<Append>) {
        let mut prepared = self.heads.prepare();
        let mut kept = Vec::with_capacity(batch.len());
        let (now, clock) = (Timestamp::now(), Instant::now());
        for append in batch {
            if append.deadline < clock {
                append.answer(Err(AppendError::Expired));
            } else if !append.is_current() {
                append.answer(Err(AppendError::NotApplied));
            } else if let Err(error) = self.heads.add(&mut prepared, &append, now) {
                append.answer(Err(AppendError::Encoding(error.to_string())));
            } else {
                kept.push(append);
            }
        }
        (prepared, kept)
    }

    /// Answers that append nothing go out only while no record of another owner can stand behind
    /// one's own last: its transaction's marker is all that may.
    fn prove_ownership(&mut self, appends: Vec<Append>) -> Option<Doubt> {
        let mut partitions: Vec<_> = appends.iter().map(|a| (a.stream, a.partition)).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let proof = self.log.high_watermarks(&partitions).map(|ends| {
            partitions.iter().zip(ends).all(|(&(stream, p), end)| {
                let own = self.heads.end(stream, p);
                (own..=own + 1).contains(&end)
            })
        });
        match proof {
            Ok(true) => {
                for append in appends {
                    append.answer(Ok(Vec::new()));
                }
                None
            }
            outcome => {
                if let Err(error) = outcome {
                    tracing::warn!(
                        group = self.number,
                        "Proving ownership of group {}: {error}",
                        self.number
                    );
                }
                // Nothing was written, so "not applied" is certain whoever owns the ledger.
                Some(Doubt::Unclear(
                    appends.into_iter().map(|append| (append, Vec::new())).collect(),
                ))
            }
        }
    }
}

impl<L: WriterLog> Drop for Worker<L> {
    /// A thread that is gone must not be taken for one that serves.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status
                .send_replace(GroupStatus::Halted("the writer's thread panicked".to_owned()));
        }
    }
}

fn is_foreign_claim(event: &Event, instance: WriterId) -> bool {
    matches!(event, Event::Log(LogEvent::LedgerClaimed(claim)) if claim.instance != instance)
}
