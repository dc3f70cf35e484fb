//! `rolecall-import FILE`: imports users from a CSV or NDJSON file.
//!
//! The file is sent in chunks, each under an idempotency key that follows from the file and the chunk's number. So an
//! import that was interrupted, wherever, is started again with the same command: what is there already stays as it is.

mod chunks;
mod journal;
mod sending;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use transport::Trust;

use crate::chunks::{Chunks, Form, Source};
use crate::journal::Journal;
use crate::sending::{Sender, SignIn};

/// Imports users into Rolecall.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Users, one a line: NDJSON, or CSV with the names of the fields in its first line. Fields: username, email,
    /// password_hash, phone_number, email_verified, phone_verified.
    file: PathBuf,
    /// The command service.
    #[arg(long, env = "ROLECALL_COMMAND_URL", default_value = "https://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    trust: Trust,
    /// Who imports: a user with the permission rolecall.user_import.
    #[arg(long, env = "ROLECALL_USERNAME")]
    username: String,
    /// File with the password of that user.
    #[arg(long, env = "ROLECALL_PASSWORD_FILE")]
    password_file: PathBuf,
    /// The file's form; told by its name otherwise.
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Users in one request.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    chunk: u32,
    /// Requests at once. A command service takes two.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    parallel: u32,
    /// Where rejected users go, each with its line and the reason; beside the file otherwise.
    #[arg(long)]
    rejected: Option<PathBuf>,
    /// Where is kept what is done; beside the file otherwise.
    #[arg(long)]
    journal: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("rolecall-import: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives how many users were rejected, in this run and in those before it.
async fn run(arguments: Arguments) -> Result<u64> {
    let Arguments { file, chunk, .. } = &arguments;
    let beside = |ending: &str| {
        let mut name = file.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    arguments.trust.check()?;
    arguments
        .trust
        .check_url("ROLECALL_COMMAND_URL", &arguments.url)?;
    let http = arguments.trust.http()?;
    let source = Source::open(file, arguments.form).with_context(|| format!("reading {}", file.display()))?;
    let journal = Journal::open(
        &arguments.journal.clone().unwrap_or_else(|| beside(".journal")),
        &arguments.rejected.clone().unwrap_or_else(|| beside(".rejected")),
        &format!("{}/{chunk}", source.digest),
    )?;
    let password = std::fs::read_to_string(&arguments.password_file)
        .with_context(|| format!("reading {}", arguments.password_file.display()))?;
    let sign_in = SignIn {
        username: arguments.username.clone(),
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    };
    let sender = Arc::new(Sender::new(
        http,
        &arguments.url,
        sign_in,
        &source.digest,
        *chunk,
    )?);
    sender.sign_in().await?;
    let bar = progress_bar(source.rows)?;
    let journal = send_all(source, journal, &sender, &arguments, &bar).await?;
    bar.finish();
    let (imported, rejected) = journal.totals();
    println!("{imported} imported, {rejected} rejected");
    if rejected > 0 {
        println!("See {}", journal.rejected_path().display());
    }
    Ok(rejected)
}

async fn send_all(
    source: Source,
    mut journal: Journal,
    sender: &Arc<Sender>,
    arguments: &Arguments,
    bar: &ProgressBar,
) -> Result<Journal> {
    let done = journal.done();
    let size = usize::try_from(arguments.chunk)?;
    let chunks = Chunks::of(source, size)?;
    let sent = futures::stream::iter(chunks).map(|chunk| {
        let (sender, done) = (Arc::clone(sender), done.clone());
        async move {
            let chunk = chunk?;
            if done.contains(&chunk.number) {
                return Ok((chunk, None));
            }
            let outcome = sender.send(&chunk).await?;
            anyhow::Ok((chunk, Some(outcome)))
        }
    });
    let mut sent = sent.buffer_unordered(usize::try_from(arguments.parallel)?);
    while let Some(ended) = sent.next().await {
        let (chunk, outcome) = ended?;
        if let Some(outcome) = outcome {
            journal.record(&chunk, &outcome)?;
        }
        bar.inc(chunk.rows.len() as u64);
    }
    drop(sent);
    Ok(journal)
}

fn progress_bar(rows: u64) -> Result<ProgressBar> {
    let style = "{bar:40} {pos}/{len} users, {per_sec}, {eta} left";
    Ok(ProgressBar::new(rows).with_style(ProgressStyle::with_template(style)?))
}
