//! Snapshots of what checks need: kept for access nodes, who alone know what they mean.

use schemas::LogId;
use sqlx::{PgPool, Row};

use crate::Error;

/// A ledger of a log, and the form of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub log_id: LogId,
    pub number: i32,
    pub format: i32,
}

/// One part of a snapshot; the first says how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub content: Vec<u8>,
    pub seal: Vec<u8>,
}

/// The parts in order, as of one moment; none if nothing was saved.
pub async fn load(pool: &PgPool, of: Ledger) -> Result<Vec<Part>, Error> {
    let rows = sqlx::query(
        "SELECT content, seal FROM access_snapshots WHERE log_id = $1 AND ledger = $2 AND format = $3 ORDER BY part",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.number)
    .bind(of.format)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Part {
                content: row.try_get("content")?,
                seal: row.try_get("seal")?,
            })
        })
        .collect()
}

/// Replaces what was there, of other forms too: all of it or nothing.
pub async fn save(pool: &PgPool, of: Ledger, parts: &[Part]) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("DELETE FROM access_snapshots WHERE log_id = $1 AND ledger = $2")
        .bind(of.log_id.as_uuid())
        .bind(of.number)
        .execute(&mut *tx)
        .await?;
    let contents: Vec<&[u8]> = parts.iter().map(|part| part.content.as_slice()).collect();
    let seals: Vec<&[u8]> = parts.iter().map(|part| part.seal.as_slice()).collect();
    sqlx::query(
        "INSERT INTO access_snapshots (log_id, ledger, format, part, content, seal)
         SELECT $1, $2, $3, (part - 1)::integer, content, seal
         FROM unnest($4::bytea[], $5::bytea[]) WITH ORDINALITY AS saved (content, seal, part)",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.number)
    .bind(of.format)
    .bind(contents)
    .bind(seals)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Removes what is saved of a ledger.
pub async fn forget(pool: &PgPool, log_id: LogId, ledger: i32) -> Result<(), Error> {
    sqlx::query("DELETE FROM access_snapshots WHERE log_id = $1 AND ledger = $2")
        .bind(log_id.as_uuid())
        .bind(ledger)
        .execute(pool)
        .await?;
    Ok(())
}

/// Puts what one shard has of a ledger in the place of what another has, whatever its form.
pub async fn copy(from: &PgPool, to: &PgPool, log_id: LogId, ledger: i32) -> Result<(), Error> {
    let mut source = from
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let mut tx = to.begin().await?;
    sqlx::query("DELETE FROM access_snapshots WHERE log_id = $1 AND ledger = $2")
        .bind(log_id.as_uuid())
        .bind(ledger)
        .execute(&mut *tx)
        .await?;
    let parts: Vec<(i32, i32)> = sqlx::query_as(
        "SELECT format, part FROM access_snapshots WHERE log_id = $1 AND ledger = $2 ORDER BY format, part",
    )
    .bind(log_id.as_uuid())
    .bind(ledger)
    .fetch_all(&mut *source)
    .await?;
    // One at a time: a part may be large.
    for (format, part) in parts {
        let (content, seal): (Vec<u8>, Vec<u8>) = sqlx::query_as(
            "SELECT content, seal FROM access_snapshots
             WHERE log_id = $1 AND ledger = $2 AND format = $3 AND part = $4",
        )
        .bind(log_id.as_uuid())
        .bind(ledger)
        .bind(format)
        .bind(part)
        .fetch_one(&mut *source)
        .await?;
        sqlx::query(
            "INSERT INTO access_snapshots (log_id, ledger, format, part, content, seal)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(log_id.as_uuid())
        .bind(ledger)
        .bind(format)
        .bind(part)
        .bind(content)
        .bind(seal)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
