//! Connections to PostgreSQL servers, bounded.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use transport::Trust;

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
    pub trust: Trust,
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
            trust: Trust::public(),
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
            trust: Trust::public(),
        }
    }

    /// For comparing a shard with the log: as the projector, and digests of large ledgers take long.
    pub const fn comparing() -> Self {
        Self {
            application_name: "rolecall-projector",
            role: "rolecall_projector",
            max_connections: 3,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(3600),
            trust: Trust::public(),
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
            trust: Trust::public(),
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
            trust: Trust::public(),
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
            trust: Trust::public(),
        }
    }

    #[must_use]
    pub fn trusting(mut self, trust: &Trust) -> Self {
        self.trust = trust.clone();
        self
    }

    /// A pool that connects when it is first used.
    pub fn pool(&self, dsn: &str) -> Result<PgPool, sqlx::Error> {
        self.pool_of(dsn, None)
    }

    /// As [`Self::pool`], of another database than the DSN names.
    pub fn pool_of(&self, dsn: &str, database: Option<&str>) -> Result<PgPool, sqlx::Error> {
        let statement_timeout = self.statement_timeout.as_millis().to_string();
        let mut options = secured(PgConnectOptions::from_str(dsn)?, dsn, &self.trust)
            .map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
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

/// By TLS, with a server that is who the DSN means, unless the DSN (or PGSSLMODE) asks for less and that is allowed. What
/// goes through a Unix socket stays on the machine, and PostgreSQL has no TLS there.
fn secured(
    options: PgConnectOptions,
    dsn: &str,
    trust: &Trust,
) -> Result<PgConnectOptions, transport::Error> {
    if options.get_socket().is_some() || options.get_host().starts_with('/') {
        return Ok(options.ssl_mode(PgSslMode::Disable));
    }
    let mut options = match names(dsn, &["sslmode", "ssl-mode"], "PGSSLMODE") {
        true => options,
        false => options.ssl_mode(PgSslMode::VerifyFull),
    };
    let mode = options.get_ssl_mode();
    if !matches!(mode, PgSslMode::VerifyFull) {
        let host = options.get_host();
        trust
            .permit(|| format!("the DSN for {host} has sslmode {mode:?}, which is less than verify-full"))?;
    }
    if let Some(ca) = &trust.ca_file
        && !names(dsn, &["sslrootcert", "ssl-root-cert", "ssl-ca"], "PGSSLROOTCERT")
    {
        options = options.ssl_root_cert(ca);
    }
    if let Some((certificate, key)) = trust.client()?
        && !names(dsn, &["sslcert", "ssl-cert"], "PGSSLCERT")
    {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options)
}

/// `postgres://user@host`, `postgres://host?user=user`, or PGUSER.
fn names_user(dsn: &str) -> bool {
    let address = dsn.split_once('?').map_or(dsn, |(address, _)| address);
    address.contains('@') || names(dsn, &["user"], "PGUSER")
}

/// Whether a DSN has a parameter of one of these names, or the environment this variable.
fn names(dsn: &str, parameters: &[&str], variable: &str) -> bool {
    let given = dsn.split_once('?').map_or("", |(_, parameters)| parameters);
    let mut given = given.split('&').filter_map(|it| it.split_once('='));
    given.any(|(name, _)| parameters.contains(&name)) || std::env::var_os(variable).is_some()
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

#[cfg(test)]
mod tests {
    use transport::Plaintext;

    use super::*;

    fn mode(dsn: &str, plaintext: Plaintext) -> Result<String, String> {
        let trust = Trust {
            plaintext,
            ca_file: Some("ca.pem".into()),
            ..Trust::public()
        };
        let options = secured(dsn.parse().unwrap(), dsn, &trust);
        options
            .map(|options| format!("{:?}", options.get_ssl_mode()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_dsn_means_verified_tls_unless_it_says_otherwise_and_may() {
        for dsn in [
            "postgres://h/a",
            "postgres://u@h/a?sslmode=verify-full",
            "postgres://h/a?user=u",
        ] {
            for plaintext in [Plaintext::Refused, Plaintext::Allowed] {
                assert_eq!(mode(dsn, plaintext).as_deref(), Ok("VerifyFull"), "{dsn}");
            }
        }
        for weak in ["disable", "allow", "prefer", "require", "verify-ca"] {
            for name in ["sslmode", "ssl-mode"] {
                let dsn = format!("postgres://h/a?user=u&{name}={weak}");
                let refusal = mode(&dsn, Plaintext::Refused).unwrap_err();
                assert!(refusal.contains("ROLECALL_PLAINTEXT"), "{dsn}: {refusal}");
                assert!(mode(&dsn, Plaintext::Allowed).is_ok(), "{dsn}");
            }
        }
    }

    #[test]
    fn a_unix_socket_has_no_tls_and_needs_none() {
        let dsn = "postgres://%2Fvar%2Frun:5432/a";
        assert_eq!(mode(dsn, Plaintext::Refused).as_deref(), Ok("Disable"));
    }
}
