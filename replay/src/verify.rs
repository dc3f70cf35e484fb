//! `replay verify`: is every chained partition as its writers left it?
//!
//! The chain proves a record by its successor, so the last record of a partition is proven only by
//! something outside the partition: a head noted earlier (`--expect`), later a seal. Whoever can
//! write to the topics can also append, or rewrite all that follows a record; only a noted head or
//! a seal shows that.
//!
//! What a log says of itself stands in its catalog, so the catalog's chain is followed first. Where
//! it breaks, nothing the catalog says is held against the other partitions: they are checked by
//! their chains alone.

mod expect;
mod finding;
mod judge;
mod partition;
mod places;
mod report;
mod rules;
mod trial;
mod verifier;

use std::time::Instant;

use event_log::KafkaConfig;
use indicatif::ProgressBar;

use crate::Outcome;
use crate::cli::LogArgs;
use crate::error::Error;
use crate::reading::{self, Place};
use places::Partitions;

pub use expect::ExpectedHead;
pub use finding::{Finding, Kind};
pub use trial::{CATALOG, Judgement, Trial};
pub use verifier::{Facts, PartitionVerdict, Verdict, Verifier};

/// Checks the hash chain, the order and the headers of every event, and names the first altered,
/// missing or inserted event of each partition.
///
/// The last event of a partition has no successor whose hash would prove it: note the heads that
/// this prints, and give them back with --expect next time. The header traceparent is not covered:
/// who writes to the topics can add, alter or remove it unseen.
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
    let config = args.log.config()?;
    let partitions = Partitions::count(&config).await?;
    let present = partitions.present();
    let Judgement { facts, doubt } = judge_catalog(&config, &present, &args.expect).await?;
    let ledgers = facts.ledgers();
    let absent = partitions.absent(ledgers.unwrap_or_default());
    let mut places = [&present[..], &absent[..], &[CATALOG]].concat();
    if ledgers.is_none() {
        // A noted head proves that its partition was there.
        places.extend(args.expect.iter().map(|head| (head.stream, head.partition)));
    }
    let mut verifier = Verifier::new(facts, &places);
    for head in args.expect {
        verifier.expect(head)?;
    }
    for place in absent {
        verifier.absent(place);
    }
    let ends = reading::ends(&config, &present).await?;
    let began = Instant::now();
    let bar = reading::progress(&ends);
    reading::read(&config, &ends, true, &bar, |item| {
        verifier.take(item);
        Ok(())
    })
    .await?;
    // Asked again: an event may rely on others that came after the first time.
    let verdict = verifier.finish(&reading::ends(&config, &present).await?);
    if verdict.holds_nothing() {
        return Err(reading::no_log(&config));
    }
    if let Some(error) = doubt {
        let says = error.one_line();
        eprintln!("replay: the catalog does not hold, and were it to be believed, {says}");
    }
    report::print(&mut std::io::stdout().lock(), &verdict, began.elapsed())?;
    if !verdict.is_sound() {
        return Ok(Outcome::Bad);
    }
    // Their loss must not keep the findings back, nor be passed over.
    ledgers.map_or(Ok(()), |ledgers| partitions.check_keys(ledgers))?;
    Ok(Outcome::Good)
}

async fn judge_catalog(
    config: &KafkaConfig,
    present: &[Place],
    expect: &[ExpectedHead],
) -> Result<Judgement, Error> {
    let mut trial = Trial::new(config.topics());
    for head in expect {
        trial.expect(head)?;
    }
    let catalog: Vec<Place> = present.iter().copied().filter(|&it| it == CATALOG).collect();
    let ends = reading::ends(config, &catalog).await?;
    reading::read(config, &ends, true, &ProgressBar::hidden(), |item| {
        trial.take(item);
        Ok(())
    })
    .await?;
    trial.finish()
}
