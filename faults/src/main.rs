//! `just faults`: breaks everything and looks whether the promises hold.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use faults::{Settings, run};

/// Random load and random faults by a seed, then the reckoning.
#[derive(Parser)]
struct Arguments {
    /// How long faults come.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Load and faults follow from it; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 3)]
    commands: usize,
    #[arg(long, default_value_t = 2)]
    queries: usize,
    #[arg(long, default_value_t = 2)]
    projectors: usize,
    #[arg(long, default_value_t = 6)]
    shards: usize,
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// Mean pause of a client between two calls, in milliseconds.
    #[arg(long, default_value_t = 150)]
    pace: u64,
    /// How many of a hundred calls are checks; they cost less than commands.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..=100))]
    checks: u32,
    /// Only faults of these kinds, with commas between: as the line at the end names them.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Break nothing.
    #[arg(long)]
    without_faults: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let settings = Settings {
        seed: arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000)),
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        commands: arguments.commands,
        queries: arguments.queries,
        projectors: arguments.projectors,
        shards: arguments.shards,
        clients: arguments.clients,
        pace: Duration::from_millis(arguments.pace),
        checks: arguments.checks,
        only: arguments.only,
        without_faults: arguments.without_faults,
    };
    let totals = run(settings).await?;
    Ok(if totals.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
