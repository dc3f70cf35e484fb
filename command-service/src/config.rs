//! Configuration, from flags or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use event_log::{KafkaConfig, KafkaSecurity};
use read_model::ShardOptions;
use service_kit::client_info::ProxyConfig;
use service_kit::cors::AllowedOrigins;
use service_kit::jwt::TokenConfig;
use service_kit::keys::KeyFiles;
use transport::{CertificateFiles, Trust};

use crate::attempts::AttemptLimits;
use crate::delivery::DeliveryConfig;
use crate::hashing::HashingConfig;
use crate::one_time::OneTimeConfig;
use crate::passkeys::RelyingParty;
use crate::write_limits::WriteLimits;

/// Rolecall's command service: HTTP commands in, events on Kafka out.
// No Debug: DSNs hold passwords.
#[derive(Parser, Clone)]
#[command(version)]
pub struct Config {
    /// Kafka's bootstrap servers, host:port by commas.
    #[arg(long, env = "ROLECALL_KAFKA")]
    pub kafka: String,
    /// First part of every topic's name.
    #[arg(long, env = "ROLECALL_TOPIC_PREFIX", default_value = "rolecall")]
    pub topic_prefix: String,
    /// Root of the schema registry's Confluent API; asked only when a schema is new to the log.
    #[arg(long, env = "ROLECALL_SCHEMA_REGISTRY_URL")]
    pub schema_registry_url: String,
    /// Address to serve on.
    #[arg(long, env = "ROLECALL_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where other command services of the log reach this one, as the root of an address with the scheme that it serves;
    /// by default the address to serve on, or this host's name where that means all addresses. The certificate must be
    /// one of that host.
    #[arg(long, env = "ROLECALL_ADVERTISED_URL")]
    pub advertised_url: Option<String>,
    /// Partitions of a new log; must equal an existing log's.
    #[arg(long, env = "ROLECALL_LEDGERS", default_value_t = 16, value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub ledgers: i32,
    /// Writer groups of a new log; an existing log keeps its own.
    #[arg(long, env = "ROLECALL_WRITER_GROUPS", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub writer_groups: i32,
    /// Replication factor of a new log's topics.
    #[arg(long, env = "ROLECALL_REPLICATION", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=9))]
    pub replication: i32,
    /// Higher than what the log has seen: makes one further administrator, once, under the user name
    /// and e-mail address below. The way back in when nobody can administrate any more.
    #[arg(long, env = "ROLECALL_BOOTSTRAP_EPOCH", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    pub bootstrap_epoch: i32,
    /// User name of the first administrator; for a further one, a name that is free.
    #[arg(long, env = "ROLECALL_ADMIN_USERNAME", default_value = "admin")]
    pub admin_username: String,
    /// E-mail address of the first administrator; for a further one, an address that is free.
    #[arg(
        long,
        env = "ROLECALL_ADMIN_EMAIL",
        default_value = "admin@localhost.localdomain"
    )]
    pub admin_email: String,
    /// File with that administrator's password; needed once, to create the account.
    #[arg(long, env = "ROLECALL_ADMIN_PASSWORD_FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Whether people may register without a token.
    #[arg(long, env = "ROLECALL_REGISTRATION", value_enum, default_value_t = Registration::Open)]
    pub registration: Registration,
    /// Where addresses are: a file in the MaxMind DB format with countries, and cities if there are any, such as
    /// GeoLite2 City or DB-IP City Lite. Without it no event tells a country.
    #[arg(long, env = "ROLECALL_GEOIP_FILE", value_name = "FILE")]
    pub geoip_file: Option<PathBuf>,
    /// Seconds in which a second person may approve a change that gives a dangerous permission.
    #[arg(long, env = "ROLECALL_APPROVAL_TTL", default_value_t = 24 * 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub approval_ttl: u64,
    /// Password hashes computed at once; the cores by default.
    #[arg(long, env = "ROLECALL_HASHING_THREADS")]
    pub hashing_threads: Option<usize>,
    /// Password hashes waiting at most; one more is answered 429.
    #[arg(long, env = "ROLECALL_HASHING_QUEUE", default_value_t = 256)]
    pub hashing_queue: usize,
    /// Snapshots of the aggregates and of rights go there. Without any, each start reads the whole log and all of it
    /// stays in memory.
    #[command(flatten)]
    pub shards: ShardOptions,
    /// Aggregates (users, identifiers) that stay in memory, if there are shards.
    #[arg(long, env = "ROLECALL_RESIDENT_AGGREGATES", default_value_t = 200_000)]
    pub resident_aggregates: usize,
    /// Aggregates that may wait to be saved when an import of users begins; they stay in memory until then, about a kilobyte
    /// each. A user is three.
    #[arg(long, env = "ROLECALL_UNSAVED_AGGREGATES", default_value_t = 600_000)]
    pub unsaved_aggregates: usize,
    /// Events of a ledger after which the rights of its users are saved again, at least; a large ledger is saved
    /// after an eighth of its users.
    #[arg(long, env = "ROLECALL_ACCESS_SNAPSHOT_EVENTS", default_value_t = 2_000, value_parser = clap::value_parser!(i64).range(1..))]
    pub access_snapshot_events: i64,
    /// Seconds after which a segment of a new log's keys topic is closed, and an erased person's key is gone soon after: the
    /// owners' heartbeats come as often.
    #[arg(long, env = "ROLECALL_KEY_SEGMENT_SECS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub key_segment_secs: u64,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    #[command(flatten)]
    pub certificate: CertificateFiles,
    #[command(flatten)]
    pub sessions: SessionConfig,
    #[command(flatten)]
    pub hashing: HashingConfig,
    #[command(flatten)]
    pub attempts: AttemptLimits,
    #[command(flatten)]
    pub writes: WriteLimits,
    #[command(flatten)]
    pub relying_party: RelyingParty,
    #[command(flatten)]
    pub one_time: OneTimeConfig,
    #[command(flatten)]
    pub delivery: DeliveryConfig,
    #[command(flatten)]
    pub keys: KeyFiles,
    #[command(flatten)]
    pub tokens: TokenConfig,
    #[command(flatten)]
    pub proxy: ProxyConfig,
    #[command(flatten)]
    pub origins: AllowedOrigins,
}

impl Config {
    pub(crate) fn kafka_config(&self) -> Result<KafkaConfig, transport::Error> {
        let config = KafkaConfig::new(&self.kafka, &self.topic_prefix, self.kafka_security, &self.trust)?;
        Ok(config.key_segment(self.key_segment()))
    }

    pub(crate) fn key_segment(&self) -> Duration {
        Duration::from_secs(self.key_segment_secs)
    }
}

/// How long sessions live, and how many.
#[derive(Args, Clone, Copy, Debug)]
pub struct SessionConfig {
    /// Seconds a session lives, whatever is refreshed.
    #[arg(long, env = "ROLECALL_SESSION_TTL", default_value_t = 30 * 24 * 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub session_ttl: u64,
    /// Seconds a session lives after its sign-in or last refresh; 0 sets no such end. Longer than an access token
    /// lives, or whoever uses a session all the time loses it.
    #[arg(long, env = "ROLECALL_SESSION_IDLE_TIMEOUT", default_value_t = 7 * 24 * 3600)]
    pub session_idle_timeout: u64,
    /// Live sessions of one user. A further sign-in ends the one that would end first.
    #[arg(long, env = "ROLECALL_SESSIONS_PER_USER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub sessions_per_user: u16,
}

impl SessionConfig {
    pub const fn ttl(&self) -> Duration {
        Duration::from_secs(self.session_ttl)
    }

    /// In microseconds, as events have it.
    pub fn idle_timeout(&self) -> Option<i64> {
        let micros = self.session_idle_timeout.saturating_mul(1_000_000);
        (micros > 0).then(|| i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Who may register a user.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Callers with the permission `rolecall.user_register`.
    Closed,
}
