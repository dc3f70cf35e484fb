//! `local-stack`: the servers Rolecall needs, without Docker.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use local_stack::{Ports, Progress, Stack};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    /// Keep jars and prepared databases here [default: ~/.cache/rolecall/stack]
    #[arg(long, global = true, env = "ROLECALL_STACK_CACHE")]
    cache_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and install all that is needed, without starting it
    Install {
        #[arg(long, default_value_t = 16)]
        shards: usize,
    },
    /// Start Kafka, the schema registry, PostgreSQL and Redis; stop them on Ctrl-C
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// Shard databases
    #[arg(long, default_value_t = 16)]
    shards: usize,

    /// Kafka nodes, 1 or 3
    #[arg(long, default_value_t = 1)]
    kafka_nodes: usize,

    /// PostgreSQL clusters that share the shards
    #[arg(long, default_value_t = 1)]
    postgres_clusters: usize,

    /// Keep the data here [default: a temporary folder, removed at the end]
    #[arg(long)]
    data_dir: Option<PathBuf>,

    /// Write the addresses here as KEY=VALUE lines; removed at the end
    #[arg(long)]
    env_file: Option<PathBuf>,

    /// Have Kafka, the registry and PostgreSQL speak TLS, with certificates by an authority of the stack's own
    #[arg(long)]
    tls: bool,

    /// Use 9092, 8085, 5432 and 6379 instead of free ports
    #[arg(long)]
    standard_ports: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Install { shards } => {
            Ok(local_stack::install(cli.cache_dir, shards, Progress::shown()).await?)
        }
        Command::Run(run) => run.until_interrupted(cli.cache_dir).await,
    }
}

impl Run {
    async fn until_interrupted(self, cache_dir: Option<PathBuf>) -> anyhow::Result<()> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let ended = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        tokio::pin!(ended);
        let stack = tokio::select! {
            started = self.start(cache_dir) => started?,
            // Dropping the start kills what it had started.
            () = &mut ended => anyhow::bail!("interrupted while starting"),
        };
        let lines = env_lines(&stack);
        print!("{lines}");
        if let Some(path) = &self.env_file {
            write_env(path, &lines)?;
        }
        eprintln!(
            "Up. Stop with Ctrl-C; logs are in {}.",
            stack.log_of("*").display()
        );
        ended.await;
        eprintln!("Stopping.");
        stack.shutdown().await?;
        if let Some(path) = &self.env_file {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    async fn start(&self, cache_dir: Option<PathBuf>) -> local_stack::Result<Stack> {
        let mut builder = Stack::builder()
            .shards(self.shards)
            .kafka_nodes(self.kafka_nodes)
            .postgres_clusters(self.postgres_clusters)
            .tls(self.tls)
            .progress(Progress::shown());
        if let Some(dir) = cache_dir {
            builder = builder.cache_dir(dir);
        }
        if let Some(dir) = &self.data_dir {
            builder = builder.data_dir(dir);
        }
        if self.standard_ports {
            builder = builder.ports(Ports::STANDARD);
        }
        builder.start().await
    }
}

fn env_lines(stack: &Stack) -> String {
    stack
        .env()
        .into_iter()
        .fold(String::new(), |mut lines, (name, value)| {
            // Writing to a String can't fail.
            if writeln!(lines, "{name}={value}").is_err() {
                lines.clear();
            }
            lines
        })
}

/// Moved into place when complete: whoever waits for the file can read it at once.
fn write_env(path: &Path, lines: &str) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, lines).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}
