//! How a writer group is taken over, and how its doubts are settled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::{Event, Meta, Position, Stored, Stream};

use crate::claimant::Claimant;
use crate::group::{GroupStatus, Halt};
use crate::group_log::AppendError;
use crate::ledger::Ledger;
use crate::settle::{self, ClaimError, Upto};
use crate::snapshots::GroupSnapshots;
use crate::worker::{InDoubt, Worker};
use crate::writer_log::{WriterLog, WriterLogError};

const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Who fenced this writer needs so long at most to write its claim: to wait less than that is to fence it in turn,
/// and nobody serves meanwhile.
const RIVAL: Duration = Duration::from_secs(4);
/// Whether the claim was read by others of this program costs nothing to ask.
const RIVAL_POLL: Duration = Duration::from_millis(5);
/// To read the log for it costs a client of Kafka.
const RIVAL_READ: Duration = Duration::from_millis(400);

impl<L: WriterLog> Worker<L> {
    /// Looks for the claim of whoever fenced this writer, and leaves the group to it. Without one, a fault
    /// of the broker's or a rival that died half way, the group is claimed again.
    pub(crate) fn await_rival(&mut self, in_doubt: &mut InDoubt) -> bool {
        let patience = RIVAL.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        let deadline = Instant::now() + patience;
        let mut next_read = Instant::now() + RIVAL_READ.mul_f64(rand::random::<f64>());
        while Instant::now() < deadline {
            std::thread::sleep(RIVAL_POLL);
            if !self.knows_rival() && Instant::now() < next_read {
                continue;
            }
            // What was never sent needs no reading.
            if in_doubt.is_empty() && self.knows_rival() {
                return true;
            }
            match self.look_for_rival() {
                Ok(true) => {
                    self.answer(in_doubt);
                    return true;
                }
                Ok(false) => {}
                // Taking over meets the same trouble, and says so.
                Err(error) => tracing::debug!(%error, group = self.number, "Looking for the new owner"),
            }
            next_read = Instant::now() + RIVAL_READ;
        }
        false
    }

    /// Whether others of this program have read another instance's claim behind what is read here.
    pub(crate) fn knows_rival(&self) -> bool {
        let Claimant { own, owners, .. } = &self.claimant;
        let is_rival =
            |place: (Stream, i32)| owners.has_rival(own.id, place, self.heads.end(place.0, place.1));
        let partitions = self.heads.partitions().into_iter();
        // The owner of a ledger is known by its users.
        partitions
            .filter(|(stream, _)| *stream != Stream::Identifiers)
            .any(is_rival)
    }

    /// Whether another instance's claim stands behind one's own. What is there of the appends in doubt is found.
    fn look_for_rival(&mut self) -> Result<bool, WriterLogError> {
        self.look()?;
        if self.replaced {
            // Brokers answer how far they are settled one after the other: of one that was asked before the rival fenced,
            // something of one's own may be missing. Asked now, all of it is there.
            self.look()?;
        }
        Ok(self.replaced)
    }

    fn look(&mut self) -> Result<(), WriterLogError> {
        let Self {
            log,
            reader,
            heads,
            found,
            claimant,
            replaced,
            ..
        } = self;
        // Also when the reading fails further on.
        settle::read_on(&**log, reader, heads, Upto::Stable, &mut |stored, position| {
            *replaced |= claimant.is_foreign_claim(&stored.data, position);
            found.insert(stored.meta.event_id, (stored.meta, position));
        })
    }

    /// The procedure of [`settle`], again until it succeeds; `None` ends the group here.
    pub(crate) fn take_over(&mut self, in_doubt: &mut InDoubt) -> Option<L::Transaction> {
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
            if let ClaimError::Log(cause) = &error
                && let Some(halt) = Halt::of(cause)
            {
                tracing::error!(
                    group = self.number,
                    error = &error as &dyn std::error::Error,
                    "Writer group {} halts: {halt}",
                    self.number
                );
                self.end(in_doubt, GroupStatus::Halted(halt));
                return None;
            }
            tracing::warn!(
                group = self.number,
                "Claiming writer group {}: {error}; trying again",
                self.number
            );
            self.status
                .send_replace(GroupStatus::Claiming(Some(error.to_string())));
            if self.waiting.is_over() {
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
        for append in self.waiting.take_expired(Instant::now()) {
            append.answer(Err(AppendError::Expired));
        }
    }

    fn try_take_over(&mut self, in_doubt: &mut InDoubt) -> Result<Option<L::Transaction>, ClaimError> {
        if self.claimed_before {
            if self.waiting.is_over() && in_doubt.is_empty() {
                return Ok(None);
            }
            // Step 1: look before fencing, so that two owners do not fence each other for ever.
            if self.look_for_rival()? {
                self.answer(in_doubt);
                return Ok(None);
            }
            return self.claim(in_doubt);
        }
        // The history first, while its owner still serves: the rest is short.
        self.load()?;
        if self.waiting.is_closed() || self.is_taken_meanwhile() {
            return Ok(None);
        }
        self.claim(in_doubt)
    }

    /// Whether what was to be taken back turns out to have an owner elsewhere.
    fn is_taken_meanwhile(&self) -> bool {
        let place = self.heads.partitions().first().copied();
        self.claimant.takes_back && place.is_some_and(|place| !self.claimant.was_own(place))
    }

    /// Takes what is in the log behind the heads into memory, after what the snapshots have.
    fn load(&mut self) -> Result<(), ClaimError> {
        self.require_known()?;
        self.resume()?;
        let replaying = Replaying::of(self);
        let mut each = |stored, position| replaying.replay(stored, position);
        settle::read_on(
            &*self.log,
            &mut self.reader,
            &mut self.heads,
            Upto::Stable,
            &mut each,
        )?;
        self.fill()
    }

    /// Refuses a log that ends before a claim that this instance has read: it is not the same any more, and a new
    /// chain on an emptied partition would be a second past.
    fn require_known(&self) -> Result<(), ClaimError> {
        let partitions = self.heads.partitions();
        let owners = &self.claimant.owners;
        // Known before the ends are asked for: they grow meanwhile, and so does what is known.
        let known = partitions.iter().map(|&(stream, partition)| match stream {
            // The owner of a ledger is known by its users: the claim in the identifiers has an offset of its own.
            Stream::Identifiers => None,
            Stream::Users | Stream::Catalog => owners.known(stream, partition),
        });
        let known: Vec<_> = known.collect();
        let ends = self.log.high_watermarks(&partitions)?;
        for (((stream, partition), end), known) in partitions.into_iter().zip(ends).zip(known) {
            if let Some((offset, _)) = known.filter(|(offset, _)| end <= *offset) {
                return Err(ClaimError::Log(WriterLogError::SetBack {
                    stream,
                    partition,
                    end,
                    reached: offset + 1,
                }));
            }
        }
        Ok(())
    }

    /// Goes on from the snapshots, once.
    fn resume(&mut self) -> Result<(), ClaimError> {
        let Some(snapshots) = self.snapshots.as_ref().filter(|_| !self.resumed) else {
            return Ok(());
        };
        let partitions = self.heads.partitions();
        let resumed = snapshots.resume(&partitions);
        // Asked for afterwards: an owner that still serves may save what it wrote a moment ago.
        let ends = self.log.high_watermarks(&partitions)?;
        for ((place, end), head) in partitions.into_iter().zip(ends).zip(resumed) {
            let Some(head) = head else { continue };
            if end < head.end {
                let ((stream, partition), snapshot) = (place, head.end);
                return Err(ClaimError::Log(WriterLogError::Shorter {
                    stream,
                    partition,
                    end,
                    snapshot,
                }));
            }
            self.heads.resume(place, head);
        }
        self.resumed = true;
        Ok(())
    }

    fn fill(&self) -> Result<(), ClaimError> {
        if let Some(snapshots) = &self.snapshots {
            snapshots.fill_absent()?;
        }
        Ok(())
    }

    /// Steps 2 to 4; `None` where another instance came in between.
    fn claim(&mut self, in_doubt: &mut InDoubt) -> Result<Option<L::Transaction>, ClaimError> {
        let replaying = Replaying::of(self);
        let Self {
            log,
            reader,
            heads,
            found,
            claimant,
            claimed_before,
            replaced,
            ..
        } = self;
        let mut each = |stored: Stored<Event>, position: Position| {
            if *claimed_before {
                // Only the metas of one's own events in doubt matter, and a rival's claim.
                *replaced |= claimant.is_foreign_claim(&stored.data, position);
                found.insert(stored.meta.event_id, (stored.meta, position));
            } else {
                replaying.replay(stored, position);
            }
        };
        let (partitions, mut ready) = (heads.partitions(), Instant::now());
        let mut transaction = log.claim(&self.id, &mut || {
            ready = Instant::now();
            if !*claimed_before {
                claimant.pause_owner(&**log, &partitions);
            }
        })?;
        let fenced = Instant::now();
        // Nobody else can write any more: when this is read, everything that ever will be behind the heads was.
        settle::read_on(&**log, reader, heads, Upto::All, &mut each)?;
        let read = Instant::now();
        // Everything is read that ever can be there, whether the claim now succeeds or not.
        self.answer(in_doubt);
        if self.replaced {
            return Ok(None);
        }
        self.fill()?;
        let claims = settle::write_claim(&mut transaction, &mut self.heads, self.number, &self.claimant.own)?;
        self.claimed_before = true;
        // From here on the heads move by what is committed.
        self.reader = L::Reader::default();
        tracing::info!(
            group = self.number,
            fencing_ms = (fenced - ready).as_millis(),
            reading_ms = (read - fenced).as_millis(),
            claiming_ms = read.elapsed().as_millis(),
            "Writer group {} is owned",
            self.number
        );
        self.mark_claims(&claims);
        Ok(Some(transaction))
    }

    /// The heads moved to the claims, which belong to no aggregate.
    fn mark_claims(&self, claims: &[Position]) {
        if let Some(snapshots) = &self.snapshots {
            let mut marks = snapshots.marks();
            marks.moved(self.heads.heads());
            marks.claimed(claims.iter().map(|it| ((it.stream, it.partition), it.offset)));
        }
    }

    /// Settles what the log now proves.
    fn answer(&mut self, in_doubt: &mut InDoubt) {
        for (append, metas) in in_doubt.drain(..) {
            let placed: Vec<(Meta, Position)> = metas
                .iter()
                .filter_map(|meta| self.found.remove(&meta.event_id))
                .collect();
            if placed.len() == metas.len() && !metas.is_empty() {
                if let Some(snapshots) = &self.snapshots {
                    let place = (append.stream, append.partition);
                    snapshots.marks().dirty(place, &append.aggregate_id);
                }
                append.answer(Ok(placed));
            } else {
                append.answer(Err(AppendError::NotApplied));
            }
        }
        self.found.clear();
    }
}

/// Before the first claim: what the snapshots lack of the history goes into memory.
struct Replaying {
    ledgers: BTreeMap<(Stream, i32), Arc<Ledger>>,
    claimant: Claimant,
    snapshots: Option<Arc<GroupSnapshots>>,
}

impl Replaying {
    fn of<L: WriterLog>(worker: &Worker<L>) -> Self {
        Self {
            ledgers: worker.ledgers.clone(),
            claimant: worker.claimant.clone(),
            snapshots: worker.snapshots.clone(),
        }
    }

    fn replay(&self, stored: Stored<Event>, position: Position) {
        metrics::counter!("ledger_replayed_events_total").increment(1);
        self.claimant.is_foreign_claim(&stored.data, position);
        let place = (position.stream, position.partition);
        if let Some(snapshots) = &self.snapshots
            && !matches!(stored.data, Event::Log(_))
        {
            snapshots.marks().dirty(place, &stored.meta.aggregate_id);
        }
        let ledger = self.ledgers.get(&place);
        if ledger.is_some_and(|ledger| ledger.replay(stored, position).is_break()) {
            tracing::error!(?position, "An aggregate was in use while its ledger was read");
        }
    }
}
