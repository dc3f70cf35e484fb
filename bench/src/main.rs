//! Measures Rolecall against the bare servers it rests on, side by side in one run.
//!
//! `bench` runs everything, `bench NAME...` some of it; both write their table into
//! docs/performance.md.
//!
//! To add a bench: write it in a file of its own that returns a [`report::Section`], name it in
//! [`Name`] and call it from `measure`.

mod ack;
mod bare_handler;
mod bare_hash;
mod bare_producer;
mod checks;
mod client;
mod hash_partitions;
mod imports;
mod instances;
mod loaded;
mod logins;
mod memory;
mod process;
mod refreshes;
mod registrations;
mod replay;
mod report;
mod seed;
mod start;
mod stats;
mod timing;
mod visibility;
mod warm_up;
mod world;
mod writer_groups;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use local_stack::{Progress, Stack};

use crate::report::{Report, Section};
use crate::seed::SignedIn;
use crate::world::World;

const PREFIX: &str = "bench";
/// As a new log has by default.
const GROUPS: i32 = 4;

/// Measures Rolecall against the bare servers it rests on.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything by default.
    names: Vec<Name>,
    /// People in the log.
    #[arg(long, default_value_t = 100_000)]
    users: usize,
    /// Writer groups of the log.
    #[arg(long, default_value_t = GROUPS)]
    groups: i32,
    /// The page to write the tables into.
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,
    /// Only print.
    #[arg(long)]
    no_page: bool,
    /// Keep the servers' data and logs in this folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Be the handler that checks are compared with.
    #[arg(long, hide = true)]
    serve_bare: Option<SocketAddr>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// Time of a command, against a bare transaction
    Ack,
    /// Logins a second, against bare argon2id
    Logins,
    /// Registrations a second, against bare argon2id
    Registrations,
    /// Refreshes a second
    Refreshes,
    /// Sign-ins, refreshes and checks with a live session for each user
    Loaded,
    /// Whether the time of a refusal tells that an account exists
    Timing,
    /// From a grant to the check that sees it
    Visibility,
    /// Checks a second, against a bare handler
    Checks,
    /// Events a second when shards are rebuilt, against a bare COPY
    Replay,
    /// Resident memory
    Memory,
    /// 1, 4 and 16 writer groups
    WriterGroups,
    /// Three command services on three brokers: time of a command, and out for how long
    Instances,
    /// Users imported a second
    Import,
    /// Starts of the command service, with and without snapshots
    Start,
    /// Users and sessions of a shard in one table, against hash partitions
    HashPartitions,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Several libraries bring a TLS provider; one must be the chosen one.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("bench: a TLS provider was installed before");
    }
    let arguments = Arguments::parse();
    let outcome = match arguments.serve_bare {
        Some(address) => bare_handler::serve(address).await,
        None => run(&arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let line: Vec<String> = std::env::args().skip(1).collect();
    let report = Report {
        machine: report::machine(&line),
        page: (!arguments.no_page).then(|| arguments.page.clone()),
    };
    let mut builder = Stack::builder().progress(Progress::shown());
    if let Some(folder) = &arguments.folder {
        builder = builder.data_dir(folder);
    }
    let stack = builder.start().await?;
    let outcome = tokio::select! {
        outcome = measure(&stack, arguments, &report) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped")),
    };
    stack.shutdown().await?;
    outcome
}

async fn measure(stack: &Stack, arguments: &Arguments, report: &Report) -> Result<()> {
    let wanted = |name: Name| arguments.names.is_empty() || arguments.names.contains(&name);
    let mut memory = Vec::new();
    if wanted(Name::Memory) {
        say("memory of idle services");
        memory.extend(memory::idle(stack).await.context("measuring idle services")?);
    }
    let of_services = [
        Name::Memory,
        Name::Ack,
        Name::Visibility,
        Name::Checks,
        Name::Logins,
        Name::Registrations,
        Name::Refreshes,
        Name::Loaded,
        Name::Timing,
    ];
    let with_services = of_services.into_iter().any(wanted);
    if with_services || wanted(Name::Replay) || wanted(Name::Start) {
        let began = Instant::now();
        say(&format!("a log with {} users", arguments.users));
        let signed_in = match wanted(Name::Loaded) {
            true => SignedIn::All,
            false => SignedIn::Some,
        };
        let people = seed::seed(stack, PREFIX, arguments.groups, arguments.users, signed_in)
            .await
            .context("making the log")?;
        say(&format!("{} events in {:.1?}", people.events, began.elapsed()));
        if wanted(Name::Replay) {
            say("replay");
            report.add(
                &replay::run(stack, PREFIX, &people)
                    .await
                    .context("measuring replay")?,
            )?;
        }
        if with_services {
            let world = World::start(stack, PREFIX, people.clone())
                .await
                .context("starting the services")?;
            if wanted(Name::Memory) {
                memory.extend(memory::with_people(&world)?);
                report.add(&Section {
                    name: "memory",
                    rows: memory,
                })?;
            }
            with_world(stack, &world, wanted, report).await?;
            world.services.shutdown().await?;
        }
        if wanted(Name::Start) {
            say("starts of the command service");
            report.add(&Section {
                name: "start",
                rows: start::run(stack, PREFIX, &people)
                    .await
                    .context("measuring starts")?,
            })?;
        }
    }
    if wanted(Name::WriterGroups) {
        say("writer groups");
        report.add(
            &writer_groups::run(stack)
                .await
                .context("measuring writer groups")?,
        )?;
    }
    if wanted(Name::HashPartitions) {
        say("hash partitions");
        let measured = hash_partitions::run(stack, arguments.users).await;
        report.add(&measured.context("measuring hash partitions")?)?;
    }
    if wanted(Name::Import) {
        say("import");
        let imported = imports::run(stack, arguments.users).await;
        report.add(&imported.context("measuring imports")?)?;
    }
    if wanted(Name::Instances) {
        say("instances");
        report.add(&instances::run().await.context("measuring instances")?)?;
    }
    Ok(())
}

async fn with_world(
    stack: &Stack,
    world: &World,
    wanted: impl Fn(Name) -> bool,
    report: &Report,
) -> Result<()> {
    if wanted(Name::Ack) {
        say("ack");
        report.add(&ack::run(stack, world).await.context("measuring ack")?)?;
    }
    if wanted(Name::Visibility) {
        say("visibility");
        report.add(&visibility::run(world).await.context("measuring visibility")?)?;
    }
    if wanted(Name::Checks) {
        say("checks");
        report.add(&checks::run(stack, world).await.context("measuring checks")?)?;
    }
    if wanted(Name::Logins) {
        say("logins");
        report.add(&logins::run(world).await.context("measuring logins")?)?;
    }
    if wanted(Name::Registrations) {
        say("registrations");
        let measured = registrations::run(world).await;
        report.add(&measured.context("measuring registrations")?)?;
    }
    if wanted(Name::Refreshes) {
        say("refreshes");
        report.add(&refreshes::run(world).await.context("measuring refreshes")?)?;
    }
    if wanted(Name::Loaded) {
        say("a session for each user");
        report.add(
            &loaded::run(world)
                .await
                .context("measuring with a session for each")?,
        )?;
    }
    if wanted(Name::Timing) {
        say("times of refusals");
        report.add(&timing::run(world).await.context("measuring times of refusals")?)?;
    }
    Ok(())
}

fn say(what: &str) {
    eprintln!("bench        {what}");
}
