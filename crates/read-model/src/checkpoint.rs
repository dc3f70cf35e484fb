//! How far a topic partition is applied: moves with the rows, in one transaction, or not at all.

use schemas::{ChainHead, GENESIS, Sha256Digest, Timestamp};
use sqlx::{PgConnection, PgPool, Row};

use crate::Error;

/// A resume point that the next record must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub next_offset: i64,
    pub chain: ChainHead,
    /// Time of the last applied event.
    pub updated_at: Option<Timestamp>,
}

impl Checkpoint {
    pub const START: Self = Self {
        next_offset: 0,
        chain: ChainHead::START,
        updated_at: None,
    };
}

/// A checkpoint with the partition it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub topic: String,
    pub partition: i32,
    pub checkpoint: Checkpoint,
}

/// The checkpoint of a partition, made on first use.
pub async fn load_or_start(pool: &PgPool, topic: &str, partition: i32) -> Result<Checkpoint, Error> {
    sqlx::query(
        "INSERT INTO projection_checkpoint (topic, partition, next_offset, chain_seq, chain_hash)
         VALUES ($1, $2, 0, 0, $3) ON CONFLICT DO NOTHING",
    )
    .bind(topic)
    .bind(partition)
    .bind(GENESIS.0.as_slice())
    .execute(pool)
    .await?;
    load(pool, topic, partition).await
}

/// The checkpoint of a partition that has one.
pub async fn load(pool: &PgPool, topic: &str, partition: i32) -> Result<Checkpoint, Error> {
    let row = sqlx::query(
        "SELECT next_offset, chain_seq, chain_hash, updated_at FROM projection_checkpoint
         WHERE topic = $1 AND partition = $2",
    )
    .bind(topic)
    .bind(partition)
    .fetch_one(pool)
    .await?;
    read(&row)
}

/// All checkpoints of a database, in the caller's snapshot.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<Placed>, Error> {
    let rows = sqlx::query(
        "SELECT topic, partition, next_offset, chain_seq, chain_hash, updated_at FROM projection_checkpoint
         ORDER BY topic, partition",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Placed {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                checkpoint: read(row)?,
            })
        })
        .collect()
}

/// Moves a checkpoint from where its worker left it. If it stands elsewhere, another worker owns
/// the partition: [`Error::Fenced`], and the transaction must not commit.
pub async fn advance(
    tx: &mut PgConnection,
    topic: &str,
    partition: i32,
    expected: i64,
    next: &Checkpoint,
) -> Result<(), Error> {
    let moved = sqlx::query(
        "UPDATE projection_checkpoint SET next_offset = $4, chain_seq = $5, chain_hash = $6, updated_at = $7
         WHERE topic = $1 AND partition = $2 AND next_offset = $3",
    )
    .bind(topic)
    .bind(partition)
    .bind(expected)
    .bind(next.next_offset)
    .bind(next.chain.next_seq)
    .bind(next.chain.hash.0.as_slice())
    .bind(next.updated_at.map(Timestamp::to_utc))
    .execute(tx)
    .await?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::Fenced {
        topic: topic.to_owned(),
        partition,
        expected,
    })
}

/// Whether a partition halted at some time and has not got past it.
pub async fn has_failure(pool: &PgPool, topic: &str, partition: i32) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM projection_failure WHERE topic = $1 AND partition = $2)",
    )
    .bind(topic)
    .bind(partition)
    .fetch_one(pool)
    .await?)
}

/// Writes why a partition halted.
pub async fn record_failure(
    pool: &PgPool,
    topic: &str,
    partition: i32,
    offset: i64,
    reason: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO projection_failure (topic, partition, at_offset, reason) VALUES ($1, $2, $3, $4)
         ON CONFLICT (topic, partition) DO UPDATE
         SET at_offset = excluded.at_offset, reason = excluded.reason, failed_at = excluded.failed_at",
    )
    .bind(topic)
    .bind(partition)
    .bind(offset)
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets a failure that the partition has got past.
pub async fn clear_failure(tx: &mut PgConnection, topic: &str, partition: i32) -> Result<(), Error> {
    sqlx::query("DELETE FROM projection_failure WHERE topic = $1 AND partition = $2")
        .bind(topic)
        .bind(partition)
        .execute(tx)
        .await?;
    Ok(())
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Checkpoint, Error> {
    let hash: Vec<u8> = row.try_get("chain_hash")?;
    let hash = <[u8; 32]>::try_from(hash.as_slice()).map_err(|_| Error::Corrupt {
        column: "chain_hash",
        value: hex::encode(&hash),
    })?;
    let updated_at: Option<chrono::DateTime<chrono::Utc>> = row.try_get("updated_at")?;
    Ok(Checkpoint {
        next_offset: row.try_get("next_offset")?,
        chain: ChainHead {
            next_seq: row.try_get("chain_seq")?,
            hash: Sha256Digest(hash),
        },
        updated_at: updated_at.map(Timestamp::from),
    })
}
