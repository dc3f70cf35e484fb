//! Saving what changed, behind the commands: no command ever waits for the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::kept::{Captured, Kept};
use super::known::Known;
use super::marks::Cut;
use super::shared::GroupSnapshots;
use super::{IndexRow, Place, SaveOutcome, StateRow, StoreError};
use crate::group::GroupStatus;

/// Rows in one transaction.
const CHUNK: usize = 500;
/// A store that does not take what is changed is tried again after so long at most.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A transaction that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// For an aggregate that has to be read before it can be saved.
const FILL: Duration = Duration::from_secs(1);

/// How a save ended that changed not everything.
enum Broken {
    /// Tried again later.
    Failed,
    /// Another owner saves by now.
    Fenced,
}

impl GroupSnapshots {
    pub(super) async fn run(self: Arc<Self>, mut status: watch::Receiver<GroupStatus>) {
        let is_final = |status: &GroupStatus| matches!(status, GroupStatus::GivenUp | GroupStatus::Halted(_));
        let (mut wait, mut last_saved) = (self.settings.every, Instant::now());
        loop {
            let is_over = tokio::time::timeout(wait, status.wait_for(is_final))
                .await
                .is_ok();
            // Who was fenced has nothing to add.
            if is_over && !self.marks().closed {
                break;
            }
            match self.flush().await {
                Ok(()) => {
                    (wait, last_saved) = (self.settings.every, Instant::now());
                }
                Err(Broken::Failed) => wait = (wait * 2).min(BACKOFF_MAX),
                Err(Broken::Fenced) => break,
            }
            self.evict();
            metrics::gauge!("snapshot_age_seconds", "group" => self.number.to_string())
                .set(last_saved.elapsed().as_secs_f64());
            if is_over {
                break;
            }
        }
        self.settings.residents.forget(self.number);
        self.ended.send_replace(true);
    }

    async fn flush(&self) -> Result<(), Broken> {
        let started = Instant::now();
        let mut outcome = Ok(());
        for (&place, ledger) in &self.ledgers {
            let Some(cut) = self.marks().cut(place) else {
                continue;
            };
            match self.save(place, ledger.kept(place.0), cut).await {
                Ok(()) => {}
                Err(Broken::Fenced) => return Err(Broken::Fenced),
                // The others may lie on another shard.
                Err(Broken::Failed) => outcome = Err(Broken::Failed),
            }
        }
        metrics::histogram!("snapshot_flush_seconds").record(started.elapsed().as_secs_f64());
        outcome
    }

    /// Saves a cut in chunks; the position moves with the last, as rows may be ahead of it and never behind.
    async fn save(&self, place: Place, kept: &dyn Kept, cut: Cut) -> Result<(), Broken> {
        let known = self.known.lock().get(&place).copied();
        let mut known = known.unwrap_or_else(|| Known::nothing(None));
        let mut ids: Vec<String> = cut.dirty.union(&cut.spoilt).cloned().collect();
        ids.sort_unstable();
        if ids.is_empty() && !known.replace && known.head.end == cut.head.end {
            return Ok(());
        }
        let (mut unsettled, mut left) = (HashSet::new(), ids.as_slice());
        loop {
            let (chunk, rest) = left.split_at(left.len().min(CHUNK));
            let rows = self.capture(place, kept, chunk, &cut, &mut unsettled).await;
            let is_last = rest.is_empty();
            let mut next = known;
            if is_last && unsettled.is_empty() {
                next.head = cut.head;
            }
            if !rows.is_empty() || is_last {
                match self
                    .save_rows(place, kept, known, next, cut.claim_offset, rows)
                    .await
                {
                    Ok(saved) => known = saved,
                    Err(broken) => {
                        // Also what this call saved of them: looking again is cheap.
                        self.marks().put_back(place, cut.dirty, cut.spoilt);
                        return Err(broken);
                    }
                }
            }
            if is_last {
                break;
            }
            left = rest;
        }
        if unsettled.is_empty() {
            return Ok(());
        }
        self.marks().put_off(place, &cut, unsettled);
        Err(Broken::Failed)
    }

    async fn capture(
        &self,
        place: Place,
        kept: &dyn Kept,
        ids: &[String],
        cut: &Cut,
        unsettled: &mut HashSet<String>,
    ) -> Vec<StateRow> {
        let of = self.sealing(place);
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            match kept.capture(id).await {
                Captured::Nothing => {}
                Captured::Unsettled => {
                    unsettled.insert(id.clone());
                    // One that is in neither memory nor store comes from the log, for the next round.
                    match tokio::time::timeout(FILL, kept.fill(self, place, id)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, ?place, "An aggregate cannot be read yet"),
                        Err(_) => tracing::debug!(?place, "An aggregate is in use"),
                    }
                }
                Captured::State(row, state) => {
                    let is_saved = kept.saved(id) == Some((row.sequence, row.pinned));
                    if !is_saved || cut.spoilt.contains(id) {
                        rows.push(self.settings.key.seal(of, row, state));
                    }
                }
            }
        }
        rows
    }

    async fn save_rows(
        &self,
        place: Place,
        kept: &dyn Kept,
        known: Known,
        mut next: Known,
        claim_offset: i64,
        rows: Vec<StateRow>,
    ) -> Result<Known, Broken> {
        let (of, key) = (self.sealing(place), &self.settings.key);
        let index: Vec<IndexRow> = rows.iter().map(index_of).collect();
        for row in &index {
            next.put(key, of, row, kept.saved(&row.id));
        }
        let (save, saved) = known.save(next, key, of, claim_offset, rows);
        let outcome = tokio::time::timeout(PATIENCE, self.settings.store.save(place, save)).await;
        match outcome.unwrap_or_else(|_| Err(StoreError("no answer in time".to_owned()))) {
            Ok(SaveOutcome::Saved) => {
                index.iter().for_each(|row| kept.was_saved(row));
                self.known.lock().insert(place, saved);
                Ok(saved)
            }
            Ok(SaveOutcome::Moved) => {
                self.reload(place, kept).await;
                Err(Broken::Failed)
            }
            Ok(SaveOutcome::Fenced) => {
                tracing::info!(?place, "Another owner saves snapshots now");
                Err(Broken::Fenced)
            }
            Err(error) => {
                tracing::warn!(?place, "Saving snapshots: {error}; trying again later");
                Err(Broken::Failed)
            }
        }
    }

    /// Lets go of what is too much, and says how much there is.
    fn evict(&self) {
        let counts = || {
            let maps = self
                .ledgers
                .iter()
                .map(|(place, ledger)| ledger.kept(place.0).counts());
            maps.fold((0, 0), |(a, b), (resident, saved)| (a + resident, b + saved))
        };
        let mut excess = self.settings.residents.excess(self.number, counts().0);
        for (place, ledger) in &self.ledgers {
            if excess > 0 {
                excess -= ledger.kept(place.0).evict(excess);
            }
        }
        let ((resident, saved), group) = (counts(), self.number.to_string());
        self.settings.residents.excess(self.number, resident);
        metrics::gauge!("snapshot_resident_aggregates", "group" => group.clone()).set(resident as f64);
        metrics::gauge!("snapshot_stored_aggregates", "group" => group.clone()).set(saved as f64);
        metrics::gauge!("snapshot_dirty_aggregates", "group" => group).set(self.marks().count() as f64);
    }
}

fn index_of(row: &StateRow) -> IndexRow {
    IndexRow {
        id: row.id.clone(),
        sequence: row.sequence,
        pinned: row.pinned,
    }
}
