//! The projector: `projector`, `projector migrate`, or `projector rebuild --verify`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use event_log::identity::await_log;
use projector::{Config, Known};
use read_model::{PoolSettings, schema};
use service_kit::telemetry;
use tokio_util::sync::CancellationToken;

/// Turns Rolecall's log into rows of its PostgreSQL shards.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make the shards' tables, or bring them up to date, as the role that owns them: rolecall_owner, unless the DSNs
    /// or PGUSER name another.
    Migrate,
    /// Project a shard anew from the log's start into an empty database.
    Rebuild {
        /// The shard to rebuild.
        #[arg(long)]
        shard: i32,
        /// DSN of an empty database to rebuild into.
        #[arg(long)]
        scratch: String,
        /// Compare its digests with those of the live shard; exit 1 where they differ.
        #[arg(long)]
        verify: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, on one line.
            eprintln!("projector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init_logging()?;
    let shutdown = service_kit::shutdown_signal()?;
    match arguments.command {
        None => Ok(projector::run(arguments.config, shutdown).await?),
        Some(Command::Migrate) => Ok(projector::migrate(&arguments.config).await?),
        Some(Command::Rebuild {
            shard,
            scratch,
            verify,
        }) => rebuild(&arguments.config, shard, &scratch, verify, shutdown).await,
    }
}

async fn rebuild(
    config: &Config,
    shard: i32,
    scratch: &str,
    verify: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let shards = projector::shards(config, PoolSettings::comparing())?;
    let live = shards
        .get(shard)
        .with_context(|| format!("no shard {shard} is configured"))?;
    let scratch_as = |settings: PoolSettings| {
        settings
            .trusting(&config.trust)
            .pool(scratch)
            .context("the DSN of the scratch database")
    };
    schema::migrate(&scratch_as(PoolSettings::owning())?).await?;
    let scratch = scratch_as(PoolSettings::comparing())?;
    let kafka = config.kafka()?;
    let log = await_log(&kafka).await?;
    projector::refuse_misfit(&shards, &log).await?;
    let known = Known::from(log);
    let compared =
        projector::compare(kafka, known, (*shards.map()).clone(), &live, &scratch, shutdown).await?;
    for (ledger, digest) in &compared.rebuilt.ledgers {
        println!("ledger {ledger}: {digest}");
    }
    println!("catalog: {}", compared.rebuilt.catalog);
    println!("audit of the catalog: {}", compared.rebuilt.catalog_audit);
    println!("places of ledgers: {}", compared.rebuilt.placement);
    let differing = compared.differing();
    if verify && !differing.is_empty() {
        bail!(
            "shard {shard} is not what the log says: ledgers {differing:?} differ (-1 is the catalog: its copy, its audit rows or the places of ledgers)"
        );
    }
    if verify {
        println!("shard {shard} is what the log says");
    }
    Ok(())
}
