//! `rolecall-shards`: adds shards, moves ledgers between them, rebuilds what a ledger or a shard's catalog has, and says
//! where everything lies.
//!
//! Whatever it has begun stands in the log's shard map, so a run that was stopped is taken up by the next one.
//!
//! To add a command: give it a variant of `cli::Command` and a file with its `run`.

mod api;
mod cli;
mod comparing;
mod generation;
mod months;
mod moving;
mod place;
mod rebuilding;
mod rebuilding_catalog;
mod status;
mod steps;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::place::Place;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, on one line.
            eprintln!("rolecall-shards: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    service_kit::telemetry::init_logging()?;
    let place = Place::open(&cli.log).await?;
    match cli.command {
        Command::Status => status::run(&place).await,
        Command::Add(args) => moving::add(place, args).await,
        Command::Move(args) => moving::move_ledgers(place, args).await,
        Command::Resume(args) => moving::resume(place, args).await,
        Command::Abandon(args) => moving::abandon(place, args).await,
        Command::Rebuild(args) => rebuilding::run(&place, args).await,
        Command::RebuildCatalog(args) => rebuilding_catalog::run(&place, args).await,
    }
}
