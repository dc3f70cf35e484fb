//! Rolecall on this machine: `demo` starts everything and tells its story with real calls, `demo up` and `demo down`
//! keep the same servers in the background.
//!
//! To add a scene to the story: write it in `story.rs`, and call it from `tell`.

mod background;
mod client;
mod env_file;
mod place;
mod running;
mod screen;
mod shutdown;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Starts Rolecall with real Kafka, registry, PostgreSQL and Redis, and shows what it does.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// End after the story instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything in the background and write the addresses to .local/rolecall.env
    Up(Folder),
    /// Stop what `up` started; the data stays
    Down(Folder),
    /// What `up` starts
    #[command(hide = true)]
    Serve(Folder),
}

#[derive(clap::Args)]
struct Folder {
    /// Data, logs and addresses
    #[arg(long, default_value = ".local")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Several libraries bring a TLS provider; one must be the chosen one.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("demo: a TLS provider was installed before");
    }
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => story::run(arguments.once).await,
        Some(Command::Up(it)) => background::up(&it.folder).await,
        Some(Command::Down(it)) => background::down(&it.folder).await,
        Some(Command::Serve(it)) => background::serve(&it.folder).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
