//! The store has something else than its owner saved last: an earlier owner's last save, one's own whose
//! answer was lost, or an older copy put in its place.

use std::sync::Arc;

use super::Place;
use super::kept::Kept;
use super::known::{Index, Known};
use super::shared::GroupSnapshots;

impl GroupSnapshots {
    /// Finds out what is stored, so that the next save can go on from there.
    pub(super) async fn reload(&self, place: Place, kept: &dyn Kept) {
        let (expected, index) = match self.stored(place).await {
            Err(error) => {
                tracing::warn!(?place, "Snapshots cannot be read: {error}");
                return;
            }
            Ok(None) => (None, None),
            Ok(Some((position, rows))) => {
                let index = Index::proven(&self.settings.key, self.sealing(place), &position, rows);
                let index = index.inspect_err(|error| {
                    tracing::warn!(?place, "The stored snapshot is of no use: {error}");
                });
                (Some(position.seal), index.ok())
            }
        };
        let rows = index.as_ref().map_or(&[][..], |index| &index.rows);
        let Some(stale) = kept.compare(rows) else {
            return self.rebuild(place, expected).await;
        };
        let known = index
            .as_ref()
            .map_or_else(|| Known::nothing(expected), |index| index.known);
        kept.index(rows);
        self.known.lock().insert(place, known);
        let mut marks = self.marks();
        stale.iter().for_each(|id| marks.dirty(place, id));
    }

    /// States that are neither in memory nor stored are read from the log, all of them, and everything is
    /// saved anew. Rare, as it takes a store that lost what it had.
    async fn rebuild(&self, place: Place, expected: Option<[u8; 32]>) {
        tracing::warn!(
            ?place,
            "The store lost snapshots; reading the partition's log to save them anew"
        );
        metrics::counter!("snapshot_rebuilds_total").increment(1);
        let Some(ledger) = self.ledgers.get(&place).map(Arc::clone) else {
            return;
        };
        let (scan, own) = (Arc::clone(&self.scan), Arc::clone(&ledger));
        let read = tokio::task::spawn_blocking(move || own.kept(place.0).rebuild(&*scan, place)).await;
        match read {
            Ok(Ok(ids)) => {
                ledger.kept(place.0).index(&[]);
                self.known.lock().insert(place, Known::nothing(expected));
                let mut marks = self.marks();
                ids.iter().for_each(|id| marks.dirty(place, id));
            }
            Ok(Err(error)) => tracing::warn!(?place, "Reading the log to save it anew: {error}"),
            Err(error) => tracing::error!(?place, %error, "Reading the log to save it anew"),
        }
    }
}
