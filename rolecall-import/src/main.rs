//! `rolecall-import FILE`: imports users from a CSV or NDJSON file.
//!
//! The file is sent in chunks, each under an idempotency key that follows from the file and the chunk's number. So an
//! import that was interrupted, wherever, is started again with the same command: what is there already stays as it is.

mod chunks;
mod journal;
mod sending;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use service_kit::service_key::ServiceKey;
use transport::Trust;

use crate::chunks::{Chunks, Form, Source};
use crate::journal::Journal;
use crate::sending::{Importer, Sender};

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
    #[arg(long, env = "ROLECALL_USERNAME", required_unless_present = "service_key_file")]
    username: Option<String>,
    /// File with the password of that user.
    #[arg(
        long,
        env = "ROLECALL_PASSWORD_FILE",
        required_unless_present = "service_key_file"
    )]
    password_file: Option<PathBuf>,
    /// File with a key of a service account with that permission; goes before user name and password.
    #[arg(long, env = "ROLECALL_SERVICE_KEY_FILE")]
    service_key_file: Option<PathBuf>,
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
    let importer = importer(&arguments)?;
    let sender = Sender::new(http, &arguments.url, importer, &source.digest, *chunk)?;
    let sender = Arc::new(sender);
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

fn importer(arguments: &Arguments) -> Result<Importer> {
    if let Some(file) = &arguments.service_key_file {
        let text = read(file)?;
        let key = ServiceKey::parse(text.trim());
        let key = key.with_context(|| format!("{} holds no key of a service account", file.display()))?;
        return Ok(Importer::Service(key.text()));
    }
    let password_file = arguments.password_file.as_deref();
    let password = read(password_file.context("name a file with the password")?)?;
    Ok(Importer::Person {
        username: arguments.username.clone().context("name who imports")?,
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    })
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
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
        bar.inc((chunk.rows.len() + chunk.broken.len()) as u64);
    }
    drop(sent);
    Ok(journal)
}

fn progress_bar(rows: u64) -> Result<ProgressBar> {
    let style = "{bar:40} {pos}/{len} users, {per_sec}, {eta} left";
    Ok(ProgressBar::new(rows).with_style(ProgressStyle::with_template(style)?))
}

#[cfg(test)]
mod tests {
    use schemas::{KeyId, UserId};
    use service_kit::keys::TokenKey;

    use super::*;

    fn parse(more: &[&str]) -> Result<Arguments, clap::Error> {
        let needed = ["rolecall-import", "users.csv"];
        Arguments::try_parse_from(needed.iter().chain(more))
    }

    #[test]
    fn who_imports_is_a_person_or_has_a_key() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--username", "admin"]).is_err());
        assert!(parse(&["--username", "admin", "--password-file", "password"]).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let file = path.to_str().unwrap();
        let key = {
            let token_key = TokenKey::parse(&[7; 32]).unwrap();
            ServiceKey::derive(&token_key, UserId::new_v7(), KeyId::new_v7(), "nonce").text()
        };
        let with_key = || importer(&parse(&["--service-key-file", file]).unwrap());
        std::fs::write(&path, "no key").unwrap();
        assert!(with_key().is_err());
        std::fs::write(&path, format!("{key}\n")).unwrap();
        assert!(matches!(with_key().unwrap(), Importer::Service(text) if text == key));
    }
}
