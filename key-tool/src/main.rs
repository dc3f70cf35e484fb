//! `rolecall-keys`: makes the keys of a new installation, and rotates those that sign access tokens.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use schemas::Timestamp;
use service_kit::key_folder::{KeyFolders, TimedKey};
use service_kit::keys::{KeyError, generate_key_files};
use service_kit::signing::Algorithm;

/// Rolecall's keys.
#[derive(Parser)]
#[command(name = "rolecall-keys", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a full set of keys in a folder; those that are there stay.
    Init { folder: PathBuf },
    /// Publishes the next key that signs access tokens, and removes those no longer needed.
    Rotate(Rotate),
    /// Lists the keys that sign access tokens, with the time from which each does.
    List(Folders),
}

#[derive(Args)]
struct Folders {
    /// Folder of the keys that sign.
    #[arg(long, env = "ROLECALL_SIGNING_KEYS")]
    signing_keys: PathBuf,
    /// Folder of their public halves.
    #[arg(long, env = "ROLECALL_VERIFYING_KEYS")]
    verifying_keys: PathBuf,
    /// Seconds an access token is good for, as the services have it.
    #[arg(long, env = "ROLECALL_TOKEN_TTL", default_value_t = 300)]
    token_ttl: u32,
}

#[derive(Args)]
struct Rotate {
    #[command(flatten)]
    folders: Folders,
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
    /// Seconds from now after which the key signs: long enough for every service to have read it, and for every
    /// verifier elsewhere to have asked for the key set again (it may keep that for 5 minutes).
    #[arg(long, default_value_t = 600)]
    publish_ahead: u64,
}

impl Folders {
    fn both(&self) -> KeyFolders {
        KeyFolders {
            signing: self.signing_keys.clone(),
            verifying: self.verifying_keys.clone(),
        }
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(self.token_ttl.into())
    }
}

/// Each message is the one line an operator needs.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("key {kid} is published already and signs from {signs_from}: rotate again after that")]
    Pending { kid: String, signs_from: Timestamp },
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rolecall-keys: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Init { folder } => {
            for (name, path) in generate_key_files(folder)?.environment() {
                println!("{name}={path}");
            }
        }
        Command::Rotate(rotation) => rotate(rotation, Timestamp::now())?,
        Command::List(folders) => list(folders, Timestamp::now())?,
    }
    Ok(())
}

fn rotate(rotation: &Rotate, now: Timestamp) -> Result<(), Error> {
    let folders = rotation.folders.both();
    if let Some(last) = folders.timeline()?.all().last()
        && now < last.signs_from
    {
        return Err(Error::Pending {
            kid: last.kid.clone(),
            signs_from: last.signs_from,
        });
    }
    let signs_from = now.plus(Duration::from_secs(rotation.publish_ahead));
    let next = folders.add(rotation.algorithm, signs_from)?;
    println!("{} is published", told(&next));
    for gone in folders.prune(now, rotation.folders.ttl())? {
        println!("{} is removed", told(&gone));
    }
    Ok(())
}

fn list(folders: &Folders, now: Timestamp) -> Result<(), Error> {
    let keys = folders.both().timeline()?;
    let published: Vec<&str> = keys
        .published_at(now, folders.ttl())
        .map(|key| key.kid.as_str())
        .collect();
    let signing = keys.signing_at(now).map(|key| key.kid.as_str());
    for key in keys.all() {
        let is = match key.kid.as_str() {
            kid if Some(kid) == signing => "signs",
            _ if now < key.signs_from => "is next",
            kid if published.contains(&kid) => "verifies",
            _ => "is retired",
        };
        println!("{} {is}", told(key));
    }
    Ok(())
}

fn told(key: &TimedKey) -> String {
    let algorithm = key.public.algorithm().name();
    format!("{} {algorithm} from {}", key.kid, key.signs_from)
}
