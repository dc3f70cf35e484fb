//! Snapshots of aggregates: kept for the owners of ledgers, who alone know what they mean.

use futures::TryStreamExt;
use schemas::{ChainHead, LogId, Sha256Digest, Timestamp};
use sqlx::{PgConnection, PgPool, Row};

use crate::Error;

/// A partition of a log.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub log_id: LogId,
    pub stream: &'static str,
    pub number: i32,
}

/// How far a partition's rows reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionRow {
    pub state_version: i32,
    pub next_offset: i64,
    pub chain: ChainHead,
    pub last_at: Timestamp,
    pub claim_offset: i64,
    pub row_count: i64,
    pub seal: [u8; 32],
}

/// Id, sequence and whether it is pinned.
pub type IndexEntry = (String, i64, bool);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    pub aggregate_id: String,
    pub sequence: i64,
    pub pinned: bool,
    pub state: Vec<u8>,
    pub seal: [u8; 32],
}

/// What became of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// Another position is stored than was expected.
    Moved,
    /// By an owner that came later.
    Fenced,
}

/// What is saved at once.
#[derive(Debug)]
pub struct Saving<'a> {
    pub expected: Option<&'a [u8; 32]>,
    /// Removes what rows there are first.
    pub replace: bool,
    pub rows: &'a [SnapshotRow],
    pub position: &'a PositionRow,
}

/// Position and index of a partition, as of one moment.
pub async fn load(pool: &PgPool, of: Partition) -> Result<Option<(PositionRow, Vec<IndexEntry>)>, Error> {
    let mut tx = pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let Some(position) = position(&mut tx, of).await? else {
        return Ok(None);
    };
    let mut rows = sqlx::query_as::<_, IndexEntry>(
        "SELECT aggregate_id, sequence, pinned FROM aggregate_snapshots
         WHERE log_id = $1 AND stream = $2 AND partition = $3",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .fetch(&mut *tx);
    let mut index = Vec::with_capacity(usize::try_from(position.row_count).unwrap_or(0).min(1 << 20));
    while let Some(row) = rows.try_next().await? {
        index.push(row);
    }
    Ok(Some((position, index)))
}

/// The rows of these aggregates.
pub async fn fetch(pool: &PgPool, of: Partition, ids: &[String]) -> Result<Vec<SnapshotRow>, Error> {
    let rows = sqlx::query(
        "SELECT aggregate_id, sequence, pinned, state, seal FROM aggregate_snapshots
         WHERE log_id = $1 AND stream = $2 AND partition = $3 AND aggregate_id = ANY($4)",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.iter().map(read_row).collect()
}

fn read_row(row: &sqlx::postgres::PgRow) -> Result<SnapshotRow, Error> {
    Ok(SnapshotRow {
        aggregate_id: row.try_get("aggregate_id")?,
        sequence: row.try_get("sequence")?,
        pinned: row.try_get("pinned")?,
        state: row.try_get("state")?,
        seal: hash(row.try_get("seal")?),
    })
}

/// Saves all of it or nothing; two savers at once take turns.
pub async fn save(pool: &PgPool, of: Partition, saving: Saving<'_>) -> Result<Saved, Error> {
    let mut tx = pool.begin().await?;
    let made = make_position(&mut tx, of, &saving).await?;
    let stored = position_for_update(&mut tx, of).await?;
    let is_expected = match (made, saving.expected) {
        (made, None) => made,
        (true, Some(_)) => false,
        (false, Some(expected)) => stored.seal == *expected,
    };
    if !made && stored.claim_offset > saving.position.claim_offset {
        return Ok(Saved::Fenced);
    }
    if !is_expected {
        return Ok(Saved::Moved);
    }
    if saving.replace {
        sqlx::query("DELETE FROM aggregate_snapshots WHERE log_id = $1 AND stream = $2 AND partition = $3")
            .bind(of.log_id.as_uuid())
            .bind(of.stream)
            .bind(of.number)
            .execute(&mut *tx)
            .await?;
    }
    put_rows(&mut tx, of, saving.rows).await?;
    if !made {
        move_position(&mut tx, of, saving.position).await?;
    }
    tx.commit().await?;
    Ok(Saved::Done)
}

/// Puts what one shard has of a partition in the place of what another has. Seals say nothing of shards, so it is worth
/// as much there.
pub async fn copy(from: &PgPool, to: &PgPool, of: Partition) -> Result<(), Error> {
    let mut source = from
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let Some(position) = position(&mut source, of).await? else {
        return Ok(());
    };
    let mut tx = to.begin().await?;
    delete(&mut tx, of).await?;
    let saving = Saving {
        expected: None,
        replace: true,
        rows: &[],
        position: &position,
    };
    make_position(&mut tx, of, &saving).await?;
    let mut after = String::new();
    loop {
        let rows = page(&mut source, of, &after).await?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.aggregate_id);
        put_rows(&mut tx, of, &rows).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Removes what is saved of a partition.
pub async fn forget(pool: &PgPool, of: Partition) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    delete(&mut tx, of).await?;
    tx.commit().await?;
    Ok(())
}

async fn delete(tx: &mut PgConnection, of: Partition) -> Result<(), Error> {
    for statement in [
        "DELETE FROM aggregate_snapshots WHERE log_id = $1 AND stream = $2 AND partition = $3",
        "DELETE FROM snapshot_positions WHERE log_id = $1 AND stream = $2 AND partition = $3",
    ] {
        sqlx::query(statement)
            .bind(of.log_id.as_uuid())
            .bind(of.stream)
            .bind(of.number)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// The next rows by id.
async fn page(tx: &mut PgConnection, of: Partition, after: &str) -> Result<Vec<SnapshotRow>, Error> {
    let rows = sqlx::query(
        "SELECT aggregate_id, sequence, pinned, state, seal FROM aggregate_snapshots
         WHERE log_id = $1 AND stream = $2 AND partition = $3 AND aggregate_id > $4
         ORDER BY aggregate_id LIMIT 1000",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .bind(after)
    .fetch_all(tx)
    .await?;
    rows.iter().map(read_row).collect()
}

/// Inserts the position if there is none; a rival's insert is waited for.
async fn make_position(tx: &mut PgConnection, of: Partition, saving: &Saving<'_>) -> Result<bool, Error> {
    let position = saving.position;
    let made = sqlx::query(
        "INSERT INTO snapshot_positions (log_id, stream, partition, state_version, next_offset, chain_seq, chain_hash,
                                         last_at, claim_offset, row_count, seal)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .bind(position.state_version)
    .bind(position.next_offset)
    .bind(position.chain.next_seq)
    .bind(position.chain.hash.0.as_slice())
    .bind(position.last_at.as_micros())
    .bind(position.claim_offset)
    .bind(position.row_count)
    .bind(position.seal.as_slice())
    .execute(tx)
    .await?;
    Ok(made.rows_affected() == 1)
}

async fn move_position(tx: &mut PgConnection, of: Partition, position: &PositionRow) -> Result<(), Error> {
    sqlx::query(
        "UPDATE snapshot_positions SET state_version = $4, next_offset = $5, chain_seq = $6, chain_hash = $7,
                last_at = $8, claim_offset = $9, row_count = $10, seal = $11
         WHERE log_id = $1 AND stream = $2 AND partition = $3",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .bind(position.state_version)
    .bind(position.next_offset)
    .bind(position.chain.next_seq)
    .bind(position.chain.hash.0.as_slice())
    .bind(position.last_at.as_micros())
    .bind(position.claim_offset)
    .bind(position.row_count)
    .bind(position.seal.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}

async fn put_rows(tx: &mut PgConnection, of: Partition, rows: &[SnapshotRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.aggregate_id.as_str()).collect();
    let sequences: Vec<i64> = rows.iter().map(|row| row.sequence).collect();
    let pinned: Vec<bool> = rows.iter().map(|row| row.pinned).collect();
    let states: Vec<&[u8]> = rows.iter().map(|row| row.state.as_slice()).collect();
    let seals: Vec<&[u8]> = rows.iter().map(|row| row.seal.as_slice()).collect();
    sqlx::query(
        "INSERT INTO aggregate_snapshots (log_id, stream, partition, aggregate_id, sequence, pinned, state, seal)
         SELECT $1, $2, $3, * FROM unnest($4::varchar[], $5::bigint[], $6::boolean[], $7::bytea[], $8::bytea[])
         ON CONFLICT (log_id, stream, partition, aggregate_id) DO UPDATE
         SET sequence = excluded.sequence, pinned = excluded.pinned, state = excluded.state, seal = excluded.seal",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .bind(ids)
    .bind(sequences)
    .bind(pinned)
    .bind(states)
    .bind(seals)
    .execute(tx)
    .await?;
    Ok(())
}

async fn position(tx: &mut PgConnection, of: Partition) -> Result<Option<PositionRow>, Error> {
    let row = sqlx::query(
        "SELECT state_version, next_offset, chain_seq, chain_hash, last_at, claim_offset, row_count, seal
         FROM snapshot_positions WHERE log_id = $1 AND stream = $2 AND partition = $3",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn position_for_update(tx: &mut PgConnection, of: Partition) -> Result<PositionRow, Error> {
    let row = sqlx::query(
        "SELECT state_version, next_offset, chain_seq, chain_hash, last_at, claim_offset, row_count, seal
         FROM snapshot_positions WHERE log_id = $1 AND stream = $2 AND partition = $3 FOR UPDATE",
    )
    .bind(of.log_id.as_uuid())
    .bind(of.stream)
    .bind(of.number)
    .fetch_one(tx)
    .await?;
    read(&row)
}

fn read(row: &sqlx::postgres::PgRow) -> Result<PositionRow, Error> {
    Ok(PositionRow {
        state_version: row.try_get("state_version")?,
        next_offset: row.try_get("next_offset")?,
        chain: ChainHead {
            next_seq: row.try_get("chain_seq")?,
            hash: Sha256Digest(hash(row.try_get("chain_hash")?)),
        },
        last_at: Timestamp::from_micros(row.try_get("last_at")?),
        claim_offset: row.try_get("claim_offset")?,
        row_count: row.try_get("row_count")?,
        seal: hash(row.try_get("seal")?),
    })
}

/// One of another length was edited: zeros are no seal and no hash either, and whoever checks will tell.
fn hash(bytes: Vec<u8>) -> [u8; 32] {
    <[u8; 32]>::try_from(bytes).unwrap_or_default()
}
