//! `replay timeline <user>`: what happened to one user, in order.

mod describe;
mod person;
mod personal_data;
mod roles;
mod row;

use std::collections::BTreeMap;
use std::io::Write;

use domain::ledger_of;
use event_log::identity::LogIdentity;
use event_log::{KafkaConfig, decode};
use indicatif::ProgressBar;
use schemas::{Event, Stream, UserId};

use crate::Outcome;
use crate::cli::{KeyArgs, LogArgs};
use crate::error::Error;
use crate::reading::{self, Place};

pub use personal_data::PersonalData;
pub use roles::RoleNames;
pub use row::Row;

/// Lists what happened to a user, in order.
///
/// Personal data stays `<sealed>` unless the key-encryption key is given, and `<erased>` once the
/// user was erased. Password hashes and session secrets are never opened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A user id; with the index key also a user name or an e-mail address, of now or of before.
    pub user: String,

    /// Prints whole events as JSON Lines.
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub keys: KeyArgs,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let config = args.log.config()?;
    let log = reading::identity(&config).await?;
    let Some(user) = person::find(&config, &log, &args.user, args.keys.index_key_file.as_deref()).await?
    else {
        eprintln!("replay: nobody ever held {:?}", args.user);
        return Ok(Outcome::Bad);
    };
    let data = personal_data::open(&config, &log, user, args.keys.key_encryption_key_file.as_deref()).await?;
    let roles = roles::read(&config, &log).await?;
    let count = print(&config, &log, user, &args, &data, &roles).await?;
    if count == 0 {
        eprintln!("replay: the log has no event of user {user}");
        return Ok(Outcome::Bad);
    }
    Ok(Outcome::Good)
}

async fn print(
    config: &KafkaConfig,
    log: &LogIdentity,
    user: UserId,
    args: &Args,
    data: &PersonalData,
    roles: &RoleNames,
) -> Result<u64, Error> {
    let place = (Stream::Users, ledger_of(&user.to_string(), log.created.ledgers));
    let ends = reading::ends(config, &[place]).await?;
    let bar = reading::progress(&ends);
    let widest = ends.get(&place).copied().unwrap_or_default();
    let mut count = 0;
    each_event_of(config, log, &ends, &user.to_string(), &bar, |row| {
        count += 1;
        let line = if args.json {
            row.json(data, roles)?
        } else {
            row.line(widest, user, data, roles)
        };
        bar.suspend(|| writeln!(std::io::stdout().lock(), "{line}"))?;
        Ok(())
    })
    .await?;
    Ok(count)
}

/// The events under one key, decoded; all other records are passed by unopened.
async fn each_event_of(
    config: &KafkaConfig,
    log: &LogIdentity,
    ends: &BTreeMap<Place, i64>,
    key: &str,
    bar: &ProgressBar,
    mut each: impl FnMut(Row) -> Result<(), Error>,
) -> Result<(), Error> {
    reading::read(config, ends, false, bar, |item| {
        let record = item.record()?;
        if record.key == key.as_bytes() {
            each(Row::of(record, decode(record, &log.schema_ids)?))
        } else {
            Ok(())
        }
    })
    .await
}

/// Every event of a partition, decoded.
async fn each_event(
    config: &KafkaConfig,
    log: &LogIdentity,
    place: Place,
    mut each: impl FnMut(Event),
) -> Result<(), Error> {
    let ends = reading::ends(config, &[place]).await?;
    let bar = reading::progress(&ends);
    reading::read(config, &ends, false, &bar, |item| {
        each(decode(item.record()?, &log.schema_ids)?.data);
        Ok(())
    })
    .await
}
