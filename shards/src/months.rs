//! Months of the audit log that two databases keep: what one has let go is no difference.

use std::time::Duration;

use anyhow::bail;
use chrono::NaiveDate;
use read_model::is_transient;
use read_model::time_series::{self, AUDIT};
use sqlx::PgPool;

/// Letting go waits for nobody, so that nobody waits behind it.
const TRIES: usize = 30;
const AGAIN: Duration = Duration::from_millis(200);

/// Both keep the same months from now on: those that both keep.
pub async fn keep_the_same(one: &PgPool, other: &PgPool) -> anyhow::Result<()> {
    let (of_one, of_other) = (kept_from(one).await?, kept_from(other).await?);
    let Some(oldest) = of_one.max(of_other) else {
        return Ok(());
    };
    for (pool, kept) in [(one, of_one), (other, of_other)] {
        if kept != Some(oldest) {
            let_go(pool, oldest).await?;
        }
    }
    Ok(())
}

async fn kept_from(pool: &PgPool) -> anyhow::Result<Option<NaiveDate>> {
    let mut connection = pool.acquire().await?;
    Ok(time_series::kept_from(&mut connection, AUDIT).await?)
}

async fn let_go(pool: &PgPool, oldest: NaiveDate) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        match time_series::retire_before(pool, AUDIT, oldest, false).await {
            Err(error) if is_transient(&error) => tokio::time::sleep(AGAIN).await,
            outcome => return Ok(outcome?),
        }
    }
    bail!("the months before {oldest} cannot be let go: the audit log is locked all the time")
}

/// Makes the partitions for a ledger's rows in another database where they are missing.
pub async fn make_room(from: &PgPool, to: &PgPool, ledger: i32) -> anyhow::Result<()> {
    let days: Vec<NaiveDate> = sqlx::query_scalar(
        "SELECT DISTINCT date_trunc('month', partition_date)::date FROM security_audit_log
         WHERE ledger = $1::integer::smallint",
    )
    .bind(ledger)
    .fetch_all(from)
    .await?;
    let months = time_series::MonthPartitions::of(AUDIT);
    Ok(months.ensure(to, days).await?)
}
