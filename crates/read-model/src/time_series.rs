//! Tables cut into months: partitions made before rows need them, and let go when they are out of retention.
//!
//! To add one: partition it by range of `partition_date` and insert its name into `time_series` in a migration.

use std::collections::HashSet;
use std::sync::Mutex;

use chrono::{Datelike, Months, NaiveDate};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Months that stand ready after the current one.
const AHEAD: u32 = 3;

/// A table of `time_series`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series(&'static str);

pub const AUDIT: Series = Series("security_audit_log");

/// How long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whole months before that of the last applied event.
    pub months: u32,
    /// Drop what is detached, instead of leaving it as a table of its own.
    pub drop_detached: bool,
}

/// The months of one table that one process knows to need no partition any more, on one shard.
#[derive(Debug)]
pub struct MonthPartitions {
    series: Series,
    known: Mutex<HashSet<NaiveDate>>,
}

impl MonthPartitions {
    pub fn of(series: Series) -> Self {
        Self {
            series,
            known: Mutex::default(),
        }
    }

    /// Makes the partition of each day's month and of the month after it. Outside the batch's
    /// transaction: the lock that attaching takes is over at once.
    pub async fn ensure(
        &self,
        pool: &PgPool,
        days: impl IntoIterator<Item = NaiveDate>,
    ) -> Result<(), sqlx::Error> {
        self.ensure_until(pool, days, 1).await
    }

    /// Makes the partitions of this month and of some months after it.
    pub async fn ensure_ahead(&self, pool: &PgPool, today: NaiveDate) -> Result<(), sqlx::Error> {
        self.ensure_until(pool, [today], AHEAD).await
    }

    async fn ensure_until(
        &self,
        pool: &PgPool,
        days: impl IntoIterator<Item = NaiveDate>,
        ahead: u32,
    ) -> Result<(), sqlx::Error> {
        for month in self.unknown(days, ahead) {
            sqlx::query("SELECT ensure_month($1, $2)")
                .bind(self.series.0)
                .bind(month)
                .execute(pool)
                .await?;
            self.lock().insert(month);
        }
        Ok(())
    }

    fn unknown(&self, days: impl IntoIterator<Item = NaiveDate>, ahead: u32) -> Vec<NaiveDate> {
        let known = self.lock();
        let firsts: HashSet<NaiveDate> = days.into_iter().filter_map(|day| day.with_day(1)).collect();
        let with_next = firsts
            .iter()
            .flat_map(|&first| (0..=ahead).map(move |months| first.checked_add_months(Months::new(months))));
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

/// From which month on rows are written; all of them if `None`. No month is let go before the transaction ends.
pub async fn retained_from(tx: &mut PgConnection, series: Series) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar("SELECT retained_from($1)")
        .bind(series.0)
        .fetch_one(tx)
        .await
}

/// As [`retained_from`], for whoever reads.
pub async fn kept_from(
    connection: &mut PgConnection,
    series: Series,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar("SELECT retained_from FROM time_series WHERE name = $1")
        .bind(series.0)
        .fetch_one(connection)
        .await
}

/// Lets go of the months before `oldest`. What was let go stays so.
pub async fn retire_before(
    pool: &PgPool,
    series: Series,
    oldest: NaiveDate,
    drop_detached: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT retire_months($1, $2, $3)")
        .bind(series.0)
        .bind(oldest)
        .bind(drop_detached)
        .execute(pool)
        .await?;
    Ok(())
}

/// What months of the audit log that were let go, and stay as tables of their own, still tell of these users: networks
/// and user agents go.
pub async fn erase_detached(tx: &mut PgConnection, users: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT erase_detached_audit($1, NULL)")
        .bind(users)
        .execute(tx)
        .await?;
    Ok(())
}

/// As [`erase_detached`], of all users of a ledger that has left the shard: nobody hears of erasures in it there any
/// more.
pub async fn erase_detached_ledger(tx: &mut PgConnection, ledger: i32) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT erase_detached_audit('{}', $1::integer::smallint)")
        .bind(ledger)
        .execute(tx)
        .await?;
    Ok(())
}

/// Lets go of what is out of retention. The log's time decides and no clock: at the same positions, and with the
/// same retention, every copy of a shard has the same rows.
pub async fn retire(pool: &PgPool, series: Series, retention: Retention) -> Result<(), sqlx::Error> {
    let oldest: Option<NaiveDate> = sqlx::query_scalar(
        "SELECT (date_trunc('month', max(updated_at) AT TIME ZONE 'UTC') - make_interval(months => $1))::date
         FROM projection_checkpoint",
    )
    .bind(i32::try_from(retention.months).unwrap_or(i32::MAX))
    .fetch_one(pool)
    .await?;
    match oldest {
        Some(oldest) => retire_before(pool, series, oldest, retention.drop_detached).await,
        None => Ok(()), // nothing was applied yet
    }
}
