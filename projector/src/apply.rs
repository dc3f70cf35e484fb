//! One transaction: rows and checkpoint move together or not at all.

use std::fmt::Write as _;
use std::time::Duration;

use read_model::checkpoint::{self, Checkpoint};
use read_model::is_transient;
use read_model::time_series::MonthPartitions;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;

use crate::decode::Decoded;
use crate::projections::{Batch, Place, RowError};

/// Why a batch was not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// May work later; nothing was applied, or the commit's outcome is unknown.
    Transient(String),
    /// Never works.
    Permanent(String),
    /// Another worker moved the checkpoint, or by a newer shard map nobody does.
    Fenced(String),
    /// Not to go beyond this offset for the moment.
    Held(i64),
}

/// Where a worker writes to.
pub struct Target<'a> {
    pub pool: &'a PgPool,
    pub months: &'a MonthPartitions,
    pub place: &'a Place,
    pub topic: &'a str,
    pub partition: i32,
}

impl Target<'_> {
    /// Applies the events, of which there is at least one, and moves the checkpoint from `before`
    /// to `after`.
    pub async fn apply(
        &self,
        events: &[&Decoded],
        before: i64,
        after: &Checkpoint,
        clear_failure: bool,
    ) -> Result<(), ApplyError> {
        let batch = Batch::fold(self.place, events.iter().copied())?;
        self.months.ensure(self.pool, batch.audit_days()).await?;
        let mut tx = self.pool.begin().await?;
        // First: it locks the row, so of two workers one waits here and then finds itself fenced.
        checkpoint::advance(&mut tx, self.topic, self.partition, before, after).await?;
        batch.write(&mut tx, self.place).await?;
        if clear_failure {
            checkpoint::clear_failure(&mut tx, self.topic, self.partition).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        let text = chain(&error);
        if is_transient(&error) {
            Self::Transient(text)
        } else {
            Self::Permanent(text)
        }
    }
}

impl From<read_model::Error> for ApplyError {
    fn from(error: read_model::Error) -> Self {
        match error {
            read_model::Error::Sql(error) => error.into(),
            read_model::Error::Fenced { .. } => Self::Fenced(error.to_string()),
            read_model::Error::Held { at, .. } => Self::Held(at),
            read_model::Error::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => error.into(),
            // Whoever may will do it.
            read_model::Error::Unmigrated(_) => Self::Transient(error.to_string()),
            other => Self::Permanent(chain(&other)),
        }
    }
}

impl From<RowError> for ApplyError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Sql(error) => error.into(),
            RowError::ReadModel(error) => error.into(),
            other => Self::Permanent(chain(&other)),
        }
    }
}

/// An error with its sources, for people.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        write!(text, ": {cause}").unwrap_or(());
        source = cause.source();
    }
    text
}

/// Doubling waits with jitter, so that workers of a shard that comes back do not come all at once.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    pub fn next_wait(&mut self) -> Duration {
        let longest = Duration::from_millis(50).saturating_mul(1 << self.0.min(7));
        self.0 = self.0.saturating_add(1);
        longest.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_goes_away_within_a_migration_is_waited_for() {
        let lost = || sqlx::Error::WorkerCrashed;
        for error in [
            MigrateError::Execute(lost()),
            MigrateError::ExecuteMigration(lost(), 3),
        ] {
            let error = ApplyError::from(read_model::Error::from(error));
            assert!(matches!(error, ApplyError::Transient(_)), "{error:?}");
        }
        let other = ApplyError::from(read_model::Error::from(MigrateError::VersionMismatch(3)));
        assert!(matches!(other, ApplyError::Permanent(_)), "{other:?}");
    }
}
