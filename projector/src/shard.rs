//! What the workers of one shard share, and whether its database still has what they wrote.

use std::sync::Arc;
use std::time::Duration;

use event_log::Topics;
use read_model::audit_months::AuditMonths;
use read_model::checkpoint;
use schemas::SchemaIds;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::ApplyError;
use crate::progress::{Lane, Progress};
use crate::status::Status;

/// How often a shard is asked whether it still has what was written.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the workers of one shard share.
pub struct ShardContext {
    pub pool: PgPool,
    pub months: AuditMonths,
    pub progress: Progress,
    pub status: Status,
    pub schema_ids: watch::Sender<SchemaIds>,
    pub topics: Topics,
    pub shutdown: CancellationToken,
}

impl ShardContext {
    /// Whether the database lacks what any worker of the shard committed, as after a restored backup,
    /// or has not even its tables. A checkpoint that a worker is moving at this moment is never behind
    /// what was committed before.
    pub async fn was_set_back(&self) -> Result<bool, read_model::Error> {
        let left = self.progress.checkpoints();
        let mut connection = match self.pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => return Err(error.into()),
        };
        let found = match checkpoint::all(&mut connection).await {
            Err(error) if error.is_missing_table() => return Ok(true),
            found => found?,
        };
        let stands = |(stream, partition): Lane, next: i64| {
            let topic = self.topics.of(stream);
            found
                .iter()
                .any(|it| it.topic == topic && it.partition == partition && it.checkpoint.next_offset >= next)
        };
        Ok(!left.into_iter().all(|(lane, next)| stands(lane, next)))
    }

    /// As [`Self::was_set_back`]; a database that cannot tell now is asked again by the next attempt.
    pub async fn may_be_set_back(&self) -> bool {
        match self.was_set_back().await {
            Ok(set_back) => set_back,
            Err(error) => matches!(ApplyError::from(error), ApplyError::Transient(_)),
        }
    }

    /// Looks every so often, since a quiet shard would not notice otherwise; ends everything on the
    /// shard when the database was set back.
    pub async fn watch(self: Arc<Self>) -> bool {
        loop {
            let look = async {
                tokio::time::sleep(LOOK_EVERY).await;
                self.was_set_back().await
            };
            let Some(looked) = self.shutdown.run_until_cancelled(look).await else {
                return false;
            };
            if matches!(looked, Ok(true)) {
                tracing::warn!("A shard's database was set back: filling it again from its checkpoints");
                self.shutdown.cancel();
                return true;
            }
        }
    }
}
