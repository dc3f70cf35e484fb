//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use event_log::KafkaSecurity;
use read_model::ShardOptions;
use transport::Trust;

/// Adds shards to a Rolecall log and moves ledgers between them, while commands and checks go on.
#[derive(Parser)]
#[command(name = "rolecall-shards", version)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Says where ledgers lie, what is planned, and how far each copy is.
    Status,
    /// Gives shards that the configuration names and the log does not know yet their share of the ledgers.
    Add(MoveOptions),
    /// Moves ledgers to another shard.
    Move(MoveArgs),
    /// Goes on with what an earlier run has left half done.
    Resume(MoveOptions),
    /// Gives up moves that are planned: the copies are filled no more.
    Abandon(AbandonArgs),
    /// Projects a ledger anew from the log into tables beside the live ones, compares, and puts them in their place.
    Rebuild(RebuildArgs),
    /// Projects anew what shards have of the catalog (roles, permissions, places of ledgers), compares, and puts it in
    /// the place of what is wrong. Exit 1 where something was.
    RebuildCatalog(RebuildCatalogArgs),
}

/// Where the log and its shards are.
#[derive(Args)]
pub struct LogArgs {
    /// Kafka's bootstrap servers, host:port by commas.
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
    pub security: KafkaSecurity,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub shards: ShardOptions,
}

/// A command service, and who asks it to change the shard map.
#[derive(Args)]
pub struct ApiArgs {
    /// Root address of a command service.
    #[arg(long, env = "ROLECALL_COMMAND_URL", default_value = "https://127.0.0.1:8080")]
    pub command_url: String,
    /// User name of somebody with the permission rolecall.shard_map_change.
    #[arg(long, env = "ROLECALL_ADMIN_USERNAME", default_value = "admin")]
    pub username: String,
    /// File with their password.
    #[arg(long, env = "ROLECALL_ADMIN_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// File with an access token, read at each call, in place of signing in.
    #[arg(long, env = "ROLECALL_TOKEN_FILE", conflicts_with = "password_file")]
    pub token_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct MoveOptions {
    #[command(flatten)]
    pub api: ApiArgs,
    /// Seconds for which the former copies are kept up, for nodes that do not know the new map yet. One that takes
    /// longer is refused by the copy itself.
    #[arg(long, default_value_t = 30)]
    pub grace: u64,
    /// Seconds after which a copy that is still not filled ends the run; the next one goes on with it.
    #[arg(long, default_value_t = 24 * 3600)]
    pub within: u64,
}

#[derive(Args)]
pub struct MoveArgs {
    /// The ledgers, by commas.
    #[arg(value_delimiter = ',', required = true)]
    pub ledgers: Vec<i32>,
    /// The shard to move them to.
    #[arg(long)]
    pub to: i32,
    #[command(flatten)]
    pub options: MoveOptions,
}

#[derive(Args)]
pub struct AbandonArgs {
    /// The ledgers, by commas.
    #[arg(value_delimiter = ',', required = true)]
    pub ledgers: Vec<i32>,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Args)]
pub struct RebuildOptions {
    /// Only compares: exit 1 where the live rows are not what the log says.
    #[arg(long)]
    pub verify: bool,
    /// Puts the new rows in their place even where they are the same.
    #[arg(long, conflicts_with = "verify")]
    pub always: bool,
}

#[derive(Args)]
pub struct RebuildArgs {
    /// The ledger.
    pub ledger: i32,
    /// DSN of an empty database for the new tables; by default one is made beside the live one, and dropped.
    #[arg(long)]
    pub scratch: Option<String>,
    #[command(flatten)]
    pub options: RebuildOptions,
}

#[derive(Args)]
pub struct RebuildCatalogArgs {
    /// The shards, by commas; all of the log if none is named.
    #[arg(value_name = "SHARDS", value_delimiter = ',')]
    pub only: Vec<i32>,
    /// DSN of an empty database for the new rows of one shard; by default one is made beside the live one, and dropped.
    #[arg(long)]
    pub scratch: Option<String>,
    #[command(flatten)]
    pub options: RebuildOptions,
}
