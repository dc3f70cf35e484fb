//! Keeps the months of the audit log: some stand ready ahead of time, old ones are let go.

use read_model::time_series::{self, MonthPartitions, Retention};
use sqlx::PgPool;

use crate::apply::chain;

/// Of one shard.
#[derive(Debug)]
pub struct Upkeep {
    pub audit: MonthPartitions,
    retention: Option<Retention>,
}

impl Upkeep {
    pub fn new(retention: Option<Retention>) -> Self {
        Self {
            audit: MonthPartitions::of(time_series::AUDIT),
            retention,
        }
    }

    /// The clock decides only which empty partitions stand ready, never a row.
    pub async fn tend(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        self.audit
            .ensure_ahead(pool, chrono::Utc::now().date_naive())
            .await?;
        match self.retention {
            Some(retention) => time_series::retire(pool, time_series::AUDIT, retention).await,
            None => Ok(()),
        }
    }

    /// Nothing depends on when it is done; it is tried again with the next look at the shard.
    pub async fn tend_or_warn(&self, pool: &PgPool) {
        if let Err(error) = self.tend(pool).await {
            let reason = chain(&error);
            tracing::warn!(
                reason,
                "Keeping the months of the audit log: {reason}; trying again"
            );
        }
    }
}
