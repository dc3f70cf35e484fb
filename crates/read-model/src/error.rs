//! What can go wrong with a shard, and whether trying again can help.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

const UNDEFINED_TABLE: &str = "42P01";
pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Reading or writing a shard failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("asking the shard")]
    Sql(#[from] sqlx::Error),
    #[error("preparing the shard was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("bringing the shard's schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the tables are not those of this version: run `projector migrate`")]
    Unmigrated(#[source] sqlx::migrate::MigrateError),
    #[error("the DSN of shard {0} cannot be read")]
    Dsn(i32, #[source] sqlx::Error),
    #[error(
        "another worker moved the checkpoint of {topic}-{partition} away from {expected}: this one owns nothing"
    )]
    Fenced {
        topic: String,
        partition: i32,
        expected: i64,
    },
    #[error("this database holds {found}, not {expected}")]
    Foreign { expected: String, found: String },
    #[error("reading the file of shards")]
    File(#[source] std::io::Error),
    #[error("shards {0} and {1} of the configuration are one database")]
    SameDatabase(i32, i32),
    #[error("shard map {version} of the log has {recorded} shards, the configuration has {configured}")]
    ShardCount {
        version: i32,
        recorded: i32,
        configured: i32,
    },
    #[error(
        "ledger {ledger} lies on shard {shard} by shard map {version} of the log, and the configuration has no such shard"
    )]
    NoSuchShard { version: i32, ledger: i32, shard: i32 },
    #[error("{configured} shards are configured now, of {known}: none is given up while the program runs")]
    ShardsVanished { known: usize, configured: usize },
    #[error("{topic}-{partition} is not to go beyond offset {at} for the moment")]
    Held { topic: String, partition: i32, at: i64 },
    #[error("there are grants of roles that the log does not have: rebuild the ledgers of the shard first")]
    StrayGrants(#[source] sqlx::Error),
    #[error("column {column} holds {value:?}")]
    Corrupt { column: &'static str, value: String },
}

impl Error {
    /// The database has not this schema, or none at all, or nobody has said yet who may read it.
    pub fn is_unprepared(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(db)) = self else {
            return false;
        };
        db.code()
            .is_some_and(|code| code == UNDEFINED_TABLE || code == INSUFFICIENT_PRIVILEGE)
    }
}

/// Whether the same statement may succeed later: connection, overload, deadlock, a server that
/// starts or stops. Constraint violations, bad data and SQL errors never do.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(db) => {
            let severity = db
                .try_downcast_ref::<PgDatabaseError>()
                .map(PgDatabaseError::severity);
            let ends_session = severity.is_some_and(ends_session);
            ends_session || db.code().is_none_or(|code| is_transient_code(&code))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// Then it is not about the statement, whatever its code: a full disk may end one with XX000, "could not write init
/// file".
fn ends_session(severity: PgSeverity) -> bool {
    matches!(severity, PgSeverity::Fatal | PgSeverity::Panic)
}

fn is_transient_code(code: &str) -> bool {
    // 25006: read-only, a primary that was demoted. 25P03: a program that slept within a transaction.
    // 3D000 and 28: databases and roles may follow.
    const CLASSES: [&str; 7] = ["08", "28", "40", "53", "57", "58", "55"];
    CLASSES.iter().any(|class| code.starts_with(class)) || ["25006", "25P03", "3D000"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_transient() {
        for code in [
            "40001", "40P01", "08006", "57P01", "57014", "53300", "55P03", "25006", "25P03",
        ] {
            assert!(is_transient_code(code), "{code}");
        }
        for code in ["23505", "23503", "22P02", "42P01", "25001"] {
            assert!(!is_transient_code(code), "{code}");
        }
        assert!(ends_session(PgSeverity::Fatal) && ends_session(PgSeverity::Panic));
        assert!(!ends_session(PgSeverity::Error));
        assert!(is_transient(&sqlx::Error::PoolTimedOut));
        assert!(!is_transient(&sqlx::Error::RowNotFound));
    }
}
