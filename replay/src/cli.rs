//! The command line, shared parts first.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use event_log::{KafkaConfig, KafkaSecurity};
use transport::Trust;

use crate::{timeline, verify};

/// Answers questions about a Rolecall log from Kafka alone.
///
/// Exit code 0: a good answer; 1: bad news (the log was altered, the user has no events);
/// 2: no answer (wrong input or key, no log, Kafka does not answer).
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
pub struct Cli {
    #[command(subcommand)]
    pub question: Question,
}

#[derive(Debug, Subcommand)]
pub enum Question {
    Timeline(timeline::Args),
    Verify(verify::Args),
}

/// Where the log is.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Kafka's bootstrap servers, comma-separated host:port.
    #[arg(
        long,
        env = "ROLECALL_KAFKA",
        default_value = "localhost:9092",
        value_name = "HOST:PORT,..."
    )]
    pub kafka: String,

    /// First part of the log's topic names.
    #[arg(
        long,
        env = "ROLECALL_TOPIC_PREFIX",
        default_value = "rolecall",
        value_name = "NAME"
    )]
    pub topic_prefix: String,

    #[command(flatten)]
    pub security: KafkaSecurity,

    #[command(flatten)]
    pub trust: Trust,
}

impl LogArgs {
    pub fn config(&self) -> Result<KafkaConfig, transport::Error> {
        self.trust.check()?;
        KafkaConfig::new(&self.kafka, &self.topic_prefix, self.security, &self.trust)
    }
}

/// Keys an investigator may have been given.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// Opens encrypted personal data: file of the key-encryption key (32 bytes, raw or hexadecimal).
    #[arg(long, env = "ROLECALL_KEY_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub key_encryption_key_file: Option<PathBuf>,

    /// Finds a user by name or e-mail: file of the index key (32 bytes, raw or hexadecimal).
    #[arg(long, env = "ROLECALL_INDEX_KEY_FILE", value_name = "FILE")]
    pub index_key_file: Option<PathBuf>,
}
