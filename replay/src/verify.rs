//! `replay verify`: is every chained partition as its writers left it?
//!
//! The chain proves a record by its successor, so the last record of a partition is proven only by
//! something outside the partition: a head noted earlier (`--expect`), later a seal. Whoever can
//! write to the topics can also append, or rewrite all that follows a record; only a noted head or
//! a seal shows that.

mod expect;
mod finding;
mod judge;
mod partition;
mod report;
mod rules;
mod verifier;

use std::time::Instant;

use schemas::Stream;

use crate::Outcome;
use crate::cli::LogArgs;
use crate::error::Error;
use crate::reading::{self, Item};

pub use expect::ExpectedHead;
pub use finding::{Finding, Kind};
pub use verifier::{Facts, PartitionVerdict, Verdict, Verifier};

/// Checks the hash chain, the order and the headers of every event, and names the first altered,
/// missing or inserted event of each partition.
///
/// The last event of a partition has no successor whose hash would prove it: note the heads that
/// this prints, and give them back with --expect next time.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub log: LogArgs,

    /// A head noted earlier, as printed: STREAM-PARTITION=CHAIN_SEQ:HASH (CHAIN_SEQ may be left
    /// out). It must stand in that partition's chain. May be repeated.
    #[arg(long, value_name = "HEAD")]
    pub expect: Vec<ExpectedHead>,
}

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let config = args.log.config();
    let (facts, places, refused) = match reading::identity(&config).await {
        Ok(log) => {
            let places = reading::all_places(log.created.ledgers);
            (Facts::of(config.topics(), log), places, None)
        }
        // A damaged catalog cannot say who the log is, but its chain can say where the damage is.
        Err(Error::Identity(error)) => (
            Facts::unknown(config.topics()),
            vec![(Stream::Catalog, 0)],
            Some(error),
        ),
        Err(error) => return Err(error),
    };
    let mut verifier = Verifier::new(facts, &places);
    for head in args.expect {
        verifier.expect(head)?;
    }
    let ends = reading::ends(&config, &places).await?;
    let bar = reading::progress(&ends);
    let began = Instant::now();
    reading::read(&config, &ends, true, &bar, |item| {
        match item {
            Item::Record(record) => verifier.feed(record),
            Item::Unreadable {
                place,
                offset,
                reason,
            } => verifier.unreadable(place, offset, reason),
            Item::Stopped { place, offset, stop } => verifier.stopped(place, offset, &stop),
        }
        Ok(())
    })
    .await?;
    // Asked again: an event may rely on others that came after the first time.
    let verdict = verifier.finish(&reading::ends(&config, &places).await?);
    match refused {
        Some(error) if verdict.is_sound() => return Err(error.into()),
        Some(error) => eprintln!(
            "replay: {}; only the catalog was checked",
            Error::from(error).one_line()
        ),
        None => {}
    }
    report::print(&mut std::io::stdout().lock(), &verdict, began.elapsed())?;
    Ok(if verdict.is_sound() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}
