//! Monthly partitions of `security_audit_log`, made before a batch needs them.

use std::collections::HashSet;
use std::sync::Mutex;

use chrono::{Datelike, Months, NaiveDate};
use sqlx::PgPool;

/// The months one process knows to exist on one shard.
#[derive(Debug, Default)]
pub struct AuditMonths {
    known: Mutex<HashSet<NaiveDate>>,
}

impl AuditMonths {
    /// Makes the partition of each day's month and of the month after it. Outside the batch's
    /// transaction: the lock that attaching takes is over at once.
    pub async fn ensure(
        &self,
        pool: &PgPool,
        days: impl IntoIterator<Item = NaiveDate>,
    ) -> Result<(), sqlx::Error> {
        for month in self.unknown(days) {
            sqlx::query("SELECT ensure_audit_month($1)")
                .bind(month)
                .execute(pool)
                .await?;
            self.lock().insert(month);
        }
        Ok(())
    }

    fn unknown(&self, days: impl IntoIterator<Item = NaiveDate>) -> Vec<NaiveDate> {
        let known = self.lock();
        let firsts: HashSet<NaiveDate> = days.into_iter().filter_map(|day| day.with_day(1)).collect();
        let with_next = firsts
            .iter()
            .flat_map(|&first| [Some(first), first.checked_add_months(Months::new(1))]);
        let mut wanted: Vec<_> = with_next
            .flatten()
            .filter(|month| !known.contains(month))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<NaiveDate>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
