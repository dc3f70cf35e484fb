//! Bringing a shard's schema up to date, and making sure it is the right database.

use schemas::LogId;
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use uuid::Uuid;

use crate::error::INSUFFICIENT_PRIVILEGE;
use crate::{Error, ShardId};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What a database was filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub log_id: LogId,
    pub ledgers: i32,
    pub shard_id: ShardId,
}

/// Runs missing migrations; safe from several processes at once. Whoever does not own the tables may ask too:
/// [`Error::Unmigrated`] if there are any.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    if is_current(pool).await? {
        return Ok(());
    }
    let mut connection = pool.acquire().await?;
    let Err(error) = MIGRATOR.run_direct(None, &mut *connection, false).await else {
        return Ok(());
    };
    // A run that fails leaves the lock on migrations with its connection.
    connection.close().await?;
    if is_refused(&error) {
        return Err(Error::Unmigrated(error));
    }
    Err(error.into())
}

/// By what every role may see.
async fn is_current(pool: &PgPool) -> Result<bool, Error> {
    let found = sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
        .fetch_all(pool)
        .await
        .map_err(Error::from);
    let found: Vec<(i64, Vec<u8>, bool)> = match found {
        Err(error) if error.is_unprepared() => return Ok(false),
        found => found?,
    };
    let found = found
        .iter()
        .map(|(version, checksum, success)| (*version, checksum.as_slice(), *success));
    Ok(found.eq(MIGRATOR.iter().map(|it| (it.version, &*it.checksum, true))))
}

fn is_refused(error: &MigrateError) -> bool {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return false;
    };
    let code = cause.as_database_error().and_then(|database| database.code());
    code.is_some_and(|code| code == INSUFFICIENT_PRIVILEGE)
}

/// Whose the database is; `None` where nobody has claimed it yet.
pub async fn identity(pool: &PgPool) -> Result<Option<Identity>, Error> {
    let found = sqlx::query_as("SELECT log_id, ledgers, shard_id FROM projection_identity")
        .fetch_optional(pool)
        .await
        .map_err(Error::from);
    let found: Option<(Uuid, i32, i32)> = match found {
        Err(error) if error.is_unprepared() => None,
        found => found?,
    };
    Ok(found.map(|(log_id, ledgers, shard_id)| Identity {
        log_id: log_id.into(),
        ledgers,
        shard_id,
    }))
}

/// Brings the schema up to date, if this role may, and marks an empty database as this shard of this log. One that is
/// another's is refused and stays as it is.
///
/// In a task: dropped half way, it would leave the lock on migrations with a connection of the pool, and
/// everybody who prepares the shard would wait for it.
pub async fn prepare(pool: &PgPool, identity: Identity) -> Result<(), Error> {
    let pool = pool.clone();
    let preparing = tokio::spawn(async move {
        if let Some(found) = self::identity(&pool).await? {
            identity.check(found)?;
        }
        migrate(&pool).await?;
        claim(&pool, identity).await
    });
    preparing.await?
}

async fn claim(pool: &PgPool, identity: Identity) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO projection_identity (log_id, ledgers, shard_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(identity.log_id.as_uuid())
    .bind(identity.ledgers)
    .bind(identity.shard_id)
    .execute(pool)
    .await?;
    // Another may have come first.
    let found = self::identity(pool).await?;
    identity.check(found.ok_or(sqlx::Error::RowNotFound)?)
}

impl Identity {
    /// Refuses a database that was claimed as something else.
    pub fn check(self, found: Self) -> Result<(), Error> {
        if found == self {
            return Ok(());
        }
        Err(Error::Foreign {
            expected: describe(self),
            found: describe(found),
        })
    }
}

fn describe(identity: Identity) -> String {
    format!(
        "shard {} of log {} with {} ledgers",
        identity.shard_id, identity.log_id, identity.ledgers
    )
}
