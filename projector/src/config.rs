//! Configuration of the projector.

use std::net::SocketAddr;

use event_log::{KafkaConfig, KafkaSecurity};
use read_model::ShardOptions;
use read_model::time_series::Retention;
use transport::{CertificateFiles, Trust};

/// Options, each also an environment variable.
// No Debug: DSNs hold passwords.
#[derive(Clone, clap::Args)]
pub struct Config {
    /// Kafka brokers: comma-separated host:port list.
    #[arg(long, env = "ROLECALL_KAFKA", default_value = "127.0.0.1:9092", global = true)]
    pub kafka: String,
    /// First part of every topic's name.
    #[arg(
        long,
        env = "ROLECALL_TOPIC_PREFIX",
        default_value = "rolecall",
        global = true
    )]
    pub topic_prefix: String,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    #[command(flatten)]
    pub certificate: CertificateFiles,
    #[command(flatten)]
    pub shards: ShardOptions,
    /// Address of health and metrics.
    #[arg(
        long,
        env = "ROLECALL_LISTEN",
        default_value = "127.0.0.1:8082",
        global = true
    )]
    pub listen: SocketAddr,
    /// Connections to each shard: how many batches it takes at once.
    #[arg(long, env = "ROLECALL_SHARD_CONNECTIONS", default_value_t = 3, global = true)]
    pub shard_connections: u32,
    /// Whole months of audit rows to keep in the shards before the current one; all by default. The log keeps
    /// everything.
    #[arg(
        long,
        env = "ROLECALL_AUDIT_RETENTION_MONTHS",
        value_parser = clap::value_parser!(u32).range(1..=1200),
        global = true
    )]
    pub audit_retention_months: Option<u32>,
    /// Drop audit months that are out of retention, instead of leaving them as tables of their own.
    #[arg(long, env = "ROLECALL_AUDIT_DROP_DETACHED", global = true)]
    pub audit_drop_detached: bool,
}

impl Config {
    pub fn kafka(&self) -> Result<KafkaConfig, transport::Error> {
        let config = KafkaConfig::new(&self.kafka, &self.topic_prefix, self.kafka_security, &self.trust)?;
        Ok(config.patient())
    }

    pub fn audit_retention(&self) -> Option<Retention> {
        self.audit_retention_months.map(|months| Retention {
            months,
            drop_detached: self.audit_drop_detached,
        })
    }
}
