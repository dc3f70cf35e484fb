//! Connections to the shards.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use schemas::LogId;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::OnceCell;

use crate::schema::{self, Identity};
use crate::{Error, ShardId, ShardMap};

/// Who connects to a shard, and within what bounds.
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
        let statement_timeout = self.statement_timeout.as_millis().to_string();
        let options = PgConnectOptions::from_str(dsn)?;
        let options = if names_user(dsn) {
            options
        } else {
            options.username(self.role)
        };
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

/// One shard's primary.
#[derive(Clone, Debug)]
pub struct Shard {
    pub id: ShardId,
    pub pool: PgPool,
}

/// All shards; a shard's id is the place of its DSN in the list.
#[derive(Clone, Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    map: ShardMap,
    /// Of each shard, by id: it has its tables and is claimed for the log. Clones share it.
    prepared: Arc<[OnceCell<()>]>,
}

impl Shards {
    /// Connects to nothing yet: a shard that is down must not keep a service from starting.
    pub fn connect_lazy<S: AsRef<str>>(dsns: &[S], settings: &PoolSettings) -> Result<Self, Error> {
        let open = |(id, dsn): (ShardId, &S)| {
            let pool = settings
                .pool(dsn.as_ref())
                .map_err(|error| Error::Dsn(id, error))?;
            Ok(Shard { id, pool })
        };
        let shards: Vec<Shard> = (0..).zip(dsns).map(open).collect::<Result<_, Error>>()?;
        if shards.is_empty() {
            return Err(Error::Dsn(
                0,
                sqlx::Error::Configuration("no shard is configured".into()),
            ));
        }
        refuse_same_dsn(dsns)?;
        let map = ShardMap::new(shards.iter().map(|shard| shard.id));
        let prepared = shards.iter().map(|_| OnceCell::new()).collect();
        Ok(Self {
            shards,
            map,
            prepared,
        })
    }

    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter()
    }

    /// The shard that holds a ledger.
    pub fn of_ledger(&self, ledger: i32) -> &Shard {
        let id = self.map.shard_of(ledger);
        self.get(id)
            .unwrap_or_else(|| unreachable!("the map names only these shards"))
    }

    /// As [`Self::of_ledger`], for whoever writes there: prepared for this log, once, as the projector may not have
    /// been there yet.
    pub async fn prepared(&self, ledger: i32, log_id: LogId, ledgers: i32) -> Result<&Shard, Error> {
        let shard = self.of_ledger(ledger);
        let index = usize::try_from(shard.id).unwrap_or(usize::MAX);
        if let Some(prepared) = self.prepared.get(index) {
            let shard_id = shard.id;
            let identity = Identity {
                log_id,
                ledgers,
                shard_id,
            };
            prepared
                .get_or_try_init(|| schema::prepare(&shard.pool, identity))
                .await?;
        }
        Ok(shard)
    }

    pub fn get(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }
}

/// `postgres://user@host`, `postgres://host?user=user`, or PGUSER.
fn names_user(dsn: &str) -> bool {
    let (address, parameters) = dsn.split_once('?').unwrap_or((dsn, ""));
    let names_one = |parameter: &str| parameter.starts_with("user=");
    address.contains('@') || parameters.split('&').any(names_one) || std::env::var_os("PGUSER").is_some()
}

/// Two names of one database are found out when it is asked.
fn refuse_same_dsn<S: AsRef<str>>(dsns: &[S]) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (id, dsn) in (0..).zip(dsns) {
        let options = PgConnectOptions::from_str(dsn.as_ref()).map_err(|error| Error::Dsn(id, error))?;
        let (host, database) = (options.get_host().to_owned(), options.get_database());
        let socket = options.get_socket().map(std::path::PathBuf::from);
        let place = (socket, host, options.get_port(), database.map(str::to_owned));
        if let Some(other) = seen.insert(place, id) {
            return Err(Error::SameDatabase(other, id));
        }
    }
    Ok(())
}
