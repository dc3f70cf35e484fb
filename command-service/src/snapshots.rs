//! Snapshots of aggregates in the shards of their ledgers.

use event_log::{
    IndexRow, Indexed, Place, Save, SaveOutcome, SnapshotPosition, SnapshotStore, StateRow, StoreError,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use read_model::snapshots::{self, Partition, PositionRow, Saved, Saving, SnapshotRow};
use read_model::{Shard, Shards};
use schemas::{LogId, Stream};
use service_kit::problem::chain;

/// The snapshots of one log.
pub struct ShardSnapshots {
    shards: Shards,
    log_id: LogId,
    ledgers: i32,
}

impl ShardSnapshots {
    pub fn new(shards: Shards, log_id: LogId, ledgers: i32) -> Self {
        Self {
            shards,
            log_id,
            ledgers,
        }
    }

    fn partition(&self, (stream, number): Place) -> Partition {
        Partition {
            log_id: self.log_id,
            stream: stream.name(),
            number,
        }
    }

    /// The shard of a ledger; the catalog goes to the first, wherever ledgers move.
    async fn shard(&self, (stream, ledger): Place) -> Result<Shard, read_model::Error> {
        let (log_id, ledgers) = (self.log_id, self.ledgers);
        let shard = match stream {
            Stream::Catalog => self.shards.get(0),
            Stream::Users | Stream::Identifiers => None,
        };
        let Some(first) = shard else {
            return self.shards.prepared(ledger, log_id, ledgers).await;
        };
        first.prepare(log_id, ledgers).await?;
        Ok(first)
    }
}

impl SnapshotStore for ShardSnapshots {
    fn load(&self, place: Place) -> BoxFuture<'_, Result<Option<Indexed>, StoreError>> {
        async move {
            let shard = self.shard(place).await.map_err(failed)?;
            let loaded = snapshots::load(&shard.pool, self.partition(place)).await;
            Ok(loaded.map_err(failed)?.map(|(position, index)| {
                let row = |(id, sequence, pinned)| IndexRow { id, sequence, pinned };
                (from_row(position), index.into_iter().map(row).collect())
            }))
        }
        .boxed()
    }

    fn fetch(&self, place: Place, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<StateRow>, StoreError>> {
        async move {
            let shard = self.shard(place).await.map_err(failed)?;
            let rows = snapshots::fetch(&shard.pool, self.partition(place), &ids).await;
            let state = |row: SnapshotRow| StateRow {
                id: row.aggregate_id,
                sequence: row.sequence,
                pinned: row.pinned,
                state: row.state,
                seal: row.seal,
            };
            Ok(rows.map_err(failed)?.into_iter().map(state).collect())
        }
        .boxed()
    }

    fn save(&self, place: Place, save: Save) -> BoxFuture<'_, Result<SaveOutcome, StoreError>> {
        async move {
            let shard = self.shard(place).await.map_err(failed)?;
            let row = |row: StateRow| SnapshotRow {
                aggregate_id: row.id,
                sequence: row.sequence,
                pinned: row.pinned,
                state: row.state,
                seal: row.seal,
            };
            let rows: Vec<SnapshotRow> = save.rows.into_iter().map(row).collect();
            let saving = Saving {
                expected: save.expected.as_ref(),
                replace: save.replace,
                rows: &rows,
                position: &to_row(save.position),
            };
            let saved = snapshots::save(&shard.pool, self.partition(place), saving).await;
            Ok(match saved.map_err(failed)? {
                Saved::Done => SaveOutcome::Saved,
                Saved::Moved => SaveOutcome::Moved,
                Saved::Fenced => SaveOutcome::Fenced,
            })
        }
        .boxed()
    }
}

fn failed(error: read_model::Error) -> StoreError {
    StoreError(chain(&error))
}

fn from_row(row: PositionRow) -> SnapshotPosition {
    SnapshotPosition {
        state_version: row.state_version,
        next_offset: row.next_offset,
        chain: row.chain,
        last_at: row.last_at,
        claim_offset: row.claim_offset,
        rows: row.row_count,
        seal: row.seal,
    }
}

fn to_row(position: SnapshotPosition) -> PositionRow {
    PositionRow {
        state_version: position.state_version,
        next_offset: position.next_offset,
        chain: position.chain,
        last_at: position.last_at,
        claim_offset: position.claim_offset,
        row_count: position.rows,
        seal: position.seal,
    }
}

#[cfg(test)]
mod tests;
