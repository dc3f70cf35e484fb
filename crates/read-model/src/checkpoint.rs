//! How far a topic partition is applied: moves with the rows, in one transaction, or not at all.

use schemas::{ChainHead, GENESIS, Sha256Digest, Stream, Timestamp};
use sqlx::{PgConnection, PgPool, Row};

use crate::{Error, ledger_rows};

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
    pub standing: Standing,
}

/// Who may read a copy of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The shard map by which it came to be.
    pub since_map: i32,
    /// The one by which nobody keeps it up any more.
    pub retired_by_map: Option<i32>,
}

impl Standing {
    /// Whether somebody who goes by that version of the shard map may read this copy. By an older one than the copy
    /// he means a former copy, and by a newer one than it was retired by he would not come here.
    pub fn serves(self, map_version: i32) -> bool {
        self.since_map <= map_version && self.retired_by_map.is_none()
    }
}

/// How a projector finds a partition of a ledger that it is to keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenUp {
    At(Checkpoint),
    /// By a newer map than the projector's this copy is not kept up.
    Retired,
}

/// Takes a partition up as the shard map of this version wants it: anew if it was retired before, since what it missed
/// is not known to those who read it then. `filling` says that nobody may read it by this map or an older one.
///
/// In a task: dropped half way, it would leave a transaction open with a connection of the pool, and what uses that
/// next would be part of it.
pub async fn take_up(
    pool: &PgPool,
    (stream, topic): (Stream, &str),
    partition: i32,
    map_version: i32,
    filling: bool,
) -> Result<TakenUp, Error> {
    let (pool, topic) = (pool.clone(), topic.to_owned());
    let since_map = if filling { map_version } else { 0 };
    let taking = tokio::spawn(async move {
        take_up_whole(&pool, (stream, &topic), partition, map_version, since_map).await
    });
    taking.await?
}

async fn take_up_whole(
    pool: &PgPool,
    (stream, topic): (Stream, &str),
    partition: i32,
    map_version: i32,
    since_map: i32,
) -> Result<TakenUp, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "INSERT INTO projection_checkpoint (topic, partition, next_offset, chain_seq, chain_hash, since_map)
         VALUES ($1, $2, 0, 0, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(topic)
    .bind(partition)
    .bind(GENESIS.0.as_slice())
    .bind(since_map)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query(
        "SELECT next_offset, chain_seq, chain_hash, updated_at, retired_by_map FROM projection_checkpoint
         WHERE topic = $1 AND partition = $2 FOR UPDATE",
    )
    .bind(topic)
    .bind(partition)
    .fetch_one(&mut *tx)
    .await?;
    let found = match row.try_get::<Option<i32>, _>("retired_by_map")? {
        None => TakenUp::At(read(&row)?),
        Some(retired_by) if retired_by > map_version => TakenUp::Retired,
        Some(_) => {
            ledger_rows::delete(&mut tx, stream, partition).await?;
            reset(&mut tx, topic, partition).await?;
            sqlx::query(
                "UPDATE projection_checkpoint SET since_map = $3, retired_by_map = NULL
                 WHERE topic = $1 AND partition = $2",
            )
            .bind(topic)
            .bind(partition)
            .bind(map_version)
            .execute(&mut *tx)
            .await?;
            TakenUp::At(Checkpoint::START)
        }
    };
    tx.commit().await?;
    Ok(found)
}

/// Marks those copies that are not `kept` by the shard map of this version: whoever still reads one by an older map
/// is refused from then on, and no projector writes there.
pub async fn retire_others(
    pool: &PgPool,
    topics: &[String],
    kept: &[i32],
    map_version: i32,
) -> Result<Vec<(String, i32)>, Error> {
    Ok(sqlx::query_as(
        "UPDATE projection_checkpoint SET retired_by_map = $3, hold_at = NULL, hold_until = NULL
         WHERE topic = ANY ($1) AND NOT partition = ANY ($2) AND retired_by_map IS NULL AND since_map < $3
         RETURNING topic, partition",
    )
    .bind(topics)
    .bind(kept)
    .bind(map_version)
    .fetch_all(pool)
    .await?)
}

/// To the start of the log, as the rows are gone.
async fn reset(tx: &mut PgConnection, topic: &str, partition: i32) -> Result<(), Error> {
    sqlx::query(
        "UPDATE projection_checkpoint SET next_offset = 0, chain_seq = 0, chain_hash = $3, updated_at = NULL,
                hold_at = NULL, hold_until = NULL
         WHERE topic = $1 AND partition = $2",
    )
    .bind(topic)
    .bind(partition)
    .bind(GENESIS.0.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes the rows of a retired copy; false if it is none, or is being taken up again.
pub async fn empty_retired(
    pool: &PgPool,
    (stream, topic): (Stream, &str),
    partition: i32,
) -> Result<bool, Error> {
    let mut tx = pool.begin().await?;
    let retired: Option<i32> = sqlx::query_scalar(
        "SELECT retired_by_map FROM projection_checkpoint
         WHERE topic = $1 AND partition = $2 AND retired_by_map IS NOT NULL FOR UPDATE",
    )
    .bind(topic)
    .bind(partition)
    .fetch_optional(&mut *tx)
    .await?;
    if retired.is_none() {
        return Ok(false);
    }
    ledger_rows::leave(&mut tx, stream, partition).await?;
    reset(&mut tx, topic, partition).await?;
    tx.commit().await?;
    Ok(true)
}

/// For so long at most, a copy does not go beyond `at`, or beyond where it is. Gives where it is then.
pub async fn hold(
    pool: &PgPool,
    topic: &str,
    partition: i32,
    at: Option<i64>,
    seconds: f64,
) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "UPDATE projection_checkpoint
         SET hold_at = coalesce($3, next_offset), hold_until = now() + make_interval(secs => $4)
         WHERE topic = $1 AND partition = $2 RETURNING next_offset",
    )
    .bind(topic)
    .bind(partition)
    .bind(at)
    .bind(seconds)
    .fetch_one(pool)
    .await?)
}

/// Lets it go on.
pub async fn release(pool: &PgPool, topic: &str, partition: i32) -> Result<(), Error> {
    sqlx::query(
        "UPDATE projection_checkpoint SET hold_at = NULL, hold_until = NULL WHERE topic = $1 AND partition = $2",
    )
    .bind(topic)
    .bind(partition)
    .execute(pool)
    .await?;
    Ok(())
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

/// Keeps these partitions where they are until the caller's transaction ends; gives where that is.
pub async fn stop(tx: &mut PgConnection, places: &[(String, i32)]) -> Result<Vec<Placed>, Error> {
    for (topic, partition) in places {
        sqlx::query("SELECT FROM projection_checkpoint WHERE topic = $1 AND partition = $2 FOR UPDATE")
            .bind(topic)
            .bind(partition)
            .fetch_one(&mut *tx)
            .await?;
    }
    let mut stopped = all(tx).await?;
    stopped.retain(|it| places.contains(&(it.topic.clone(), it.partition)));
    Ok(stopped)
}

/// All checkpoints of a database, in the caller's snapshot.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<Placed>, Error> {
    let rows = sqlx::query(
        "SELECT topic, partition, next_offset, chain_seq, chain_hash, updated_at, since_map, retired_by_map
         FROM projection_checkpoint ORDER BY topic, partition",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Placed {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                checkpoint: read(row)?,
                standing: Standing {
                    since_map: row.try_get("since_map")?,
                    retired_by_map: row.try_get("retired_by_map")?,
                },
            })
        })
        .collect()
}

/// Moves a checkpoint from where its worker left it. If it stands elsewhere, another worker owns
/// the partition, or it was retired: [`Error::Fenced`]; if it is not to go so far yet: [`Error::Held`]. Then the
/// transaction must not commit.
pub async fn advance(
    tx: &mut PgConnection,
    topic: &str,
    partition: i32,
    expected: i64,
    next: &Checkpoint,
) -> Result<(), Error> {
    let moved = sqlx::query(
        "UPDATE projection_checkpoint SET next_offset = $4, chain_seq = $5, chain_hash = $6, updated_at = $7
         WHERE topic = $1 AND partition = $2 AND next_offset = $3 AND retired_by_map IS NULL
           AND (hold_at IS NULL OR $4 <= hold_at OR hold_until < now())",
    )
    .bind(topic)
    .bind(partition)
    .bind(expected)
    .bind(next.next_offset)
    .bind(next.chain.next_seq)
    .bind(next.chain.hash.0.as_slice())
    .bind(next.updated_at.map(Timestamp::to_utc))
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let topic = topic.to_owned();
    match held_at(tx, &topic, partition, expected).await? {
        Some(at) => Err(Error::Held { topic, partition, at }),
        None => Err(Error::Fenced {
            topic,
            partition,
            expected,
        }),
    }
}

/// Where a checkpoint is held that stands where its worker left it.
async fn held_at(
    tx: &mut PgConnection,
    topic: &str,
    partition: i32,
    expected: i64,
) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar(
        "SELECT hold_at FROM projection_checkpoint
         WHERE topic = $1 AND partition = $2 AND next_offset = $3 AND retired_by_map IS NULL AND hold_at IS NOT NULL",
    )
    .bind(topic)
    .bind(partition)
    .bind(expected)
    .fetch_optional(tx)
    .await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_serves_who_means_it() {
        let first = Standing::default();
        assert!(first.serves(0) && first.serves(9));
        let again = Standing {
            since_map: 4,
            retired_by_map: None,
        };
        assert!(!again.serves(3), "the former copy on this shard is meant");
        assert!(again.serves(4) && again.serves(5));
        let retired = Standing {
            since_map: 4,
            retired_by_map: Some(6),
        };
        assert!(![4, 5, 6, 7].into_iter().any(|version| retired.serves(version)));
    }
}
