//! The thread of a writer group: takes over (`takeover.rs`), commits batch after batch, settles doubts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use schemas::{EventId, Meta, Position, Stream, Timestamp};
use tokio::sync::watch;

use crate::claimant::Claimant;
use crate::group::{GroupStatus, Halt};
use crate::group_log::{Append, AppendError, GroupLog, Prepared};
use crate::ledger::Ledger;
use crate::pause::Pause;
use crate::snapshots::GroupSnapshots;
use crate::waiting::Waiting;
use crate::writer_log::{CommitError, WriterLog, WriterTransaction};

pub(crate) struct Worker<L: WriterLog> {
    pub log: Arc<L>,
    pub id: String,
    pub number: i32,
    pub claimant: Claimant,
    /// Good for the heads as long as nothing is committed here.
    pub reader: L::Reader,
    pub heads: GroupLog,
    pub ledgers: BTreeMap<(Stream, i32), Arc<Ledger>>,
    pub waiting: Waiting,
    pub status: watch::Sender<GroupStatus>,
    pub claimed_before: bool,
    /// Whether another instance's claim was read behind one's own. It stays so: the heads have passed it.
    pub replaced: bool,
    pub pause: Arc<Pause>,
    pub snapshots: Option<Arc<GroupSnapshots>>,
    /// Whether the heads stand where a snapshot, or the lack of one, put them at first.
    pub resumed: bool,
    /// Events read while appends were in doubt, by id.
    pub found: HashMap<EventId, (Meta, Position)>,
}

/// Appends whose transaction had no clear end, with the metas they were written under.
pub(crate) type InDoubt = Vec<(Append, Vec<Meta>)>;

enum Doubt {
    /// Answers that need no proof any more.
    Closed,
    Unclear(InDoubt),
    Fenced(InDoubt),
}

impl<L: WriterLog> Worker<L> {
    /// Works in a thread of its own; without one the group halts, and whoever looks at it sees why.
    pub(crate) fn start(self, thread: std::thread::Builder) {
        let (status, number) = (self.status.clone(), self.number);
        if let Err(error) = thread.spawn(move || self.run()) {
            let halt = Halt::NoThread(error.to_string());
            tracing::error!(group = number, "Writer group {number} halts: {halt}");
            status.send_replace(GroupStatus::Halted(halt));
        }
    }

    fn run(mut self) {
        let mut in_doubt = InDoubt::new();
        loop {
            let Some(transaction) = self.take_over(&mut in_doubt) else {
                return;
            };
            self.status.send_replace(GroupStatus::Serving);
            match self.serve(transaction) {
                Doubt::Closed => {
                    if let Some(snapshots) = &self.snapshots {
                        snapshots.marks().closed = true;
                    }
                    self.status.send_replace(GroupStatus::GivenUp);
                    return;
                }
                Doubt::Unclear(pending) => in_doubt = pending,
                Doubt::Fenced(pending) => {
                    in_doubt = pending;
                    self.status.send_replace(GroupStatus::Claiming(None));
                    if self.await_rival(&mut in_doubt) {
                        self.end(&mut in_doubt, GroupStatus::GivenUp);
                        return;
                    }
                }
            }
            self.status.send_replace(GroupStatus::Claiming(None));
        }
    }

    pub(crate) fn end(&mut self, in_doubt: &mut InDoubt, status: GroupStatus) {
        self.status.send_replace(status);
        for (append, _) in in_doubt.drain(..) {
            append.answer(Err(AppendError::OutcomeUnknown));
        }
        for append in self.waiting.close() {
            append.answer(Err(AppendError::NotOwner));
        }
    }

    /// Commits batch after batch until the queue closes, another owner is heard of or a commit has no clear end.
    fn serve(&mut self, mut transaction: L::Transaction) -> Doubt {
        let pause = Arc::clone(&self.pause);
        loop {
            let Some(batch) = self.waiting.next_batch() else {
                return Doubt::Closed;
            };
            let Some(_turn) = pause.turn(|| self.knows_rival()) else {
                // None of these was sent.
                self.waiting.put_back(batch);
                return Doubt::Fenced(InDoubt::new());
            };
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
                self.mark(&appends);
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

    /// What was committed is to be saved; together with the heads, so that none is behind them unmarked.
    fn mark(&self, committed: &[Append]) {
        let Some(snapshots) = &self.snapshots else { return };
        let mut marks = snapshots.marks();
        for append in committed.iter().filter(|append| !append.events.is_empty()) {
            marks.dirty((append.stream, append.partition), &append.aggregate_id);
        }
        marks.moved(self.heads.heads());
    }

    /// Chains what can be committed; answers what cannot. Of those that go together one that cannot keeps all back.
    fn prepare(&self, batch: Vec<Append>) -> (Prepared, Vec<Append>) {
        let mut prepared = self.heads.prepare();
        let mut kept = Vec::with_capacity(batch.len());
        let (now, clock) = (Timestamp::now(), Instant::now());
        let mut batch = batch.into_iter();
        while batch.len() > 0 {
            let joined = batch.as_slice().iter().take_while(|append| append.is_joined);
            let count = joined.count() + 1;
            let unit: Vec<Append> = batch.by_ref().take(count).collect();
            let added = match unit.iter().find_map(|append| unfit(append, clock)) {
                Some(error) => Err(error),
                None => self
                    .heads
                    .add_all(&mut prepared, &unit, now)
                    .map_err(|error| AppendError::Encoding(error.to_string())),
            };
            match added {
                Ok(()) => kept.extend(unit),
                Err(error) => unit
                    .into_iter()
                    .for_each(|append| append.answer(Err(error.clone()))),
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

/// Why an append is not even tried.
fn unfit(append: &Append, clock: Instant) -> Option<AppendError> {
    if append.deadline < clock {
        Some(AppendError::Expired)
    } else {
        (!append.is_current()).then_some(AppendError::NotApplied)
    }
}

impl<L: WriterLog> Drop for Worker<L> {
    /// A thread that is gone must not be taken for one that serves.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status.send_replace(GroupStatus::Halted(Halt::Panicked));
        }
    }
}
