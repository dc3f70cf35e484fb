//! Bringing a shard's schema up to date, and making sure it is the right database.

use schemas::LogId;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{Error, ShardId};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What a database was filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub log_id: LogId,
    pub ledgers: i32,
    pub shard_id: ShardId,
}

/// Runs missing migrations; safe from several processes at once.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    Ok(MIGRATOR.run(pool).await?)
}

/// Marks an empty database as this shard of this log, and refuses one that is another's.
pub async fn claim(pool: &PgPool, identity: Identity) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO projection_identity (log_id, ledgers, shard_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(identity.log_id.as_uuid())
    .bind(identity.ledgers)
    .bind(identity.shard_id)
    .execute(pool)
    .await?;
    let (log_id, ledgers, shard_id): (Uuid, i32, i32) =
        sqlx::query_as("SELECT log_id, ledgers, shard_id FROM projection_identity")
            .fetch_one(pool)
            .await?;
    let found = Identity {
        log_id: log_id.into(),
        ledgers,
        shard_id,
    };
    if found == identity {
        return Ok(());
    }
    Err(Error::Foreign {
        expected: describe(identity),
        found: describe(found),
    })
}

fn describe(identity: Identity) -> String {
    format!(
        "shard {} of log {} with {} ledgers",
        identity.shard_id, identity.log_id, identity.ledgers
    )
}
