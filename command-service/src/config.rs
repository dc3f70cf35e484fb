//! Configuration, from flags or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use read_model::ShardOptions;
use service_kit::client_info::ProxyConfig;
use service_kit::jwt::TokenConfig;
use service_kit::keys::KeyFiles;

use crate::attempts::AttemptLimits;

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
    /// Where other command services of the log reach this one, as the root of an http address; by default the
    /// address to serve on, or this host's name where that means all addresses.
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
    /// Seconds a session lives, whatever is refreshed.
    #[arg(long, env = "ROLECALL_SESSION_TTL", default_value_t = 30 * 24 * 3600)]
    pub session_ttl: u64,
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
    /// Events of a ledger after which the rights of its users are saved again, at least; a large ledger is saved
    /// after an eighth of its users.
    #[arg(long, env = "ROLECALL_ACCESS_SNAPSHOT_EVENTS", default_value_t = 2_000, value_parser = clap::value_parser!(i64).range(1..))]
    pub access_snapshot_events: i64,
    #[command(flatten)]
    pub attempts: AttemptLimits,
    #[command(flatten)]
    pub keys: KeyFiles,
    #[command(flatten)]
    pub tokens: TokenConfig,
    #[command(flatten)]
    pub proxy: ProxyConfig,
}

/// Who may register a user.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Callers with the permission `rolecall.user_register`.
    Closed,
}
