//! A new owner goes on from the snapshot, called by the writer's thread.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};

use super::known::{Index, Known};
use super::shared::GroupSnapshots;
use super::{Indexed, NotFetched, Place, StoreError};
use crate::group_log::Head;

const AGAIN: Duration = Duration::from_millis(250);
/// States asked for at the same time.
const AT_ONCE: usize = 1_000;

impl GroupSnapshots {
    /// Where each partition's log is to be read on from; its start where there is no snapshot of use.
    pub(crate) fn resume(&self, places: &[Place]) -> Vec<Option<Head>> {
        let loads = places.iter().map(|&place| self.resume_one(place));
        let heads = self.runtime.block_on(futures::future::join_all(loads));
        let resumed = heads.iter().flatten().count();
        tracing::info!(
            group = self.number,
            "Going on from snapshots of {resumed} of {} partitions",
            places.len()
        );
        heads
    }

    async fn resume_one(&self, place: Place) -> Option<Head> {
        let kept = self.kept(place)?;
        let (known, index) = match self.load(place).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(?place, "Snapshots cannot be read: {error}; reading the whole log");
                (Known::nothing(None), None)
            }
        };
        self.known.lock().insert(place, known);
        let index = index?;
        kept.index(&index.rows);
        let pinned = index.rows.iter().filter(|row| row.pinned);
        pinned.for_each(|row| kept.expect(&row.id));
        tracing::debug!(
            ?place,
            aggregates = index.rows.len(),
            offset = known.head.end,
            "Going on from the snapshot of {} aggregates",
            index.rows.len()
        );
        Some(known.head)
    }

    /// What the store has, within bounds: one that takes the question and is silent is as good as down.
    pub(super) async fn stored(&self, place: Place) -> Result<Option<Indexed>, StoreError> {
        tokio::time::timeout(self.settings.silence, self.settings.store.load(place))
            .await
            .unwrap_or_else(|_| Err(StoreError("it does not answer".to_owned())))
    }

    async fn load(&self, place: Place) -> Result<(Known, Option<Index>), StoreError> {
        let deadline = Instant::now() + self.settings.patience;
        let loaded = loop {
            match self.stored(place).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                loaded => break loaded?,
            }
        };
        let Some((position, rows)) = loaded else {
            return Ok((Known::nothing(None), None));
        };
        match Index::proven(&self.settings.key, self.sealing(place), &position, rows) {
            Ok(index) => Ok((index.known, Some(index))),
            Err(error) => {
                tracing::warn!(
                    ?place,
                    "The stored snapshot is of no use: {error}; reading the whole log"
                );
                Ok((Known::nothing(Some(position.seal)), None))
            }
        }
    }

    /// Fetches the states of those that the log went on with, and of those that have to be in memory.
    pub(crate) fn fill_absent(&self) -> Result<(), NotFetched> {
        let absent = self.ledgers.iter().flat_map(|(&place, ledger)| {
            let kept = ledger.kept(place.0);
            kept.absent().into_iter().map(move |id| (place, kept, id))
        });
        let filling = futures::stream::iter(absent.collect::<Vec<_>>())
            .map(|(place, kept, id)| async move { kept.fill(self, place, &id).await });
        self.runtime
            .block_on(filling.buffer_unordered(AT_ONCE).try_collect::<()>())
    }
}
