//! Connections to PostgreSQL servers, bounded.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{Error, ShardId};

/// Who connects to a server, and within what bounds.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// As it appears in `pg_stat_activity`.
    pub application_name: &'static str,
    /// Connects as this role (`roles.sql`), unless the DSN or PGUSER names another.
    pub role: &'static str,
    pub max_connections: u32,
    pub acquire_timeout: Duration,
    pub statement_timeout: Duration,
}

impl PoolSettings {
    /// For services that read.
    pub const fn reading(application_name: &'static str) -> Self {
        Self {
            application_name,
            role: "rolecall_query",
            max_connections: 8,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
        }
    }

    /// For projectors: few connections with long statements.
    pub const fn projecting() -> Self {
        Self {
            application_name: "rolecall-projector",
            role: "rolecall_projector",
            max_connections: 3,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(60),
        }
    }

    /// For owners of ledgers, who save behind their commands.
    pub const fn saving() -> Self {
        Self {
            application_name: "rolecall-command",
            role: "rolecall_command",
            max_connections: 4,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(60),
        }
    }

    /// For operators' tools: few connections, and digests of large ledgers.
    pub const fn operating() -> Self {
        Self {
            application_name: "rolecall-shards",
            role: "rolecall_operator",
            max_connections: 4,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(3600),
        }
    }

    /// For whoever makes the tables.
    pub const fn owning() -> Self {
        Self {
            application_name: "rolecall-migrate",
            role: "rolecall_owner",
            max_connections: 1,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(3600),
        }
    }

    /// A pool that connects when it is first used.
    pub fn pool(&self, dsn: &str) -> Result<PgPool, sqlx::Error> {
        self.pool_of(dsn, None)
    }

    /// As [`Self::pool`], of another database than the DSN names.
    pub fn pool_of(&self, dsn: &str, database: Option<&str>) -> Result<PgPool, sqlx::Error> {
        let statement_timeout = self.statement_timeout.as_millis().to_string();
        let mut options = PgConnectOptions::from_str(dsn)?;
        if !names_user(dsn) {
            options = options.username(self.role);
        }
        if let Some(database) = database {
            options = options.database(database);
        }
        let options = options.application_name(self.application_name).options([
            ("statement_timeout", statement_timeout.as_str()),
            ("lock_timeout", "10s"),
            // A frozen projector must not keep the rows that it locked from whoever replaces it.
            ("idle_in_transaction_session_timeout", "10s"),
            ("client_min_messages", "warning"),
            // Digests hash the text of rows.
            ("timezone", "UTC"),
            ("datestyle", "ISO"),
            ("bytea_output", "hex"),
        ]);
        Ok(PgPoolOptions::new()
            .max_connections(self.max_connections)
            .min_connections(0)
            .acquire_timeout(self.acquire_timeout)
            .idle_timeout(Duration::from_secs(300))
            .test_before_acquire(false)
            // Workers queue here on purpose while a replay uses every connection.
            .acquire_slow_threshold(self.acquire_timeout)
            .connect_lazy_with(options))
    }
}

/// `postgres://user@host`, `postgres://host?user=user`, or PGUSER.
fn names_user(dsn: &str) -> bool {
    let (address, parameters) = dsn.split_once('?').unwrap_or((dsn, ""));
    let names_one = |parameter: &str| parameter.starts_with("user=");
    address.contains('@') || parameters.split('&').any(names_one) || std::env::var_os("PGUSER").is_some()
}

/// Two names of one database are found out when it is asked.
pub(crate) fn refuse_same_database(lines: &[&str]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (id, line) in (0..).zip(lines) {
        for dsn in line.split_whitespace() {
            let options = PgConnectOptions::from_str(dsn).map_err(|error| Error::Dsn(id, error))?;
            let (host, database) = (options.get_host().to_owned(), options.get_database());
            let socket = options.get_socket().map(std::path::PathBuf::from);
            let place = (socket, host, options.get_port(), database.map(str::to_owned));
            if let Some(other) = seen.insert(place, id) {
                let other: ShardId = other;
                return Err(Error::SameDatabase(other, id));
            }
        }
    }
    Ok(())
}
