//! Reading the log once, up to the high watermarks of the moment it was asked, with every wait
//! bounded: an investigator gets an answer or one line that says why not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event_log::identity::{IdentityError, LogIdentity, find_log};
use event_log::{
    DecodeError, HighWatermarks, KafkaConfig, Record, Tail, TailError, TailItem, WriterLogError,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemas::Stream;
use schemas::log::LogCreated;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Error;

/// Kafka is given up for lost after this long without an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);
const BATCH: usize = 2_000;
/// Version of [`schemas::link`].
const CHAIN_VERSION: i32 = 1;

/// A partition of a chained stream.
pub type Place = (Stream, i32);

/// What reading yields, in order within a partition.
pub enum Item<'a> {
    Record(&'a Record),
    /// A record without a usable `ce_dataschema` header; its partition goes on behind it.
    Unreadable {
        place: Place,
        offset: i64,
        reason: String,
    },
    /// The partition cannot be read on from `offset`; the others go on.
    Stopped {
        place: Place,
        offset: i64,
        stop: Stop,
    },
}

impl<'a> Item<'a> {
    /// For questions that need every record: it, or why it cannot be had.
    pub fn record(self) -> Result<&'a Record, Error> {
        let ((stream, partition), offset, reason) = match self {
            Self::Record(record) => return Ok(record),
            Self::Unreadable {
                place,
                offset,
                reason,
            } => (place, offset, reason),
            Self::Stopped { place, offset, stop } => (place, offset, stop.words()),
        };
        Err(Error::Stopped {
            stream,
            partition,
            offset,
            reason,
        })
    }
}

/// Why a partition cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One more unreadable record: what they are, the first has shown.
    Unreadable(String),
    /// The broker no longer has the records from this offset on.
    Truncated,
    /// The stored bytes do not match the broker's own checksum.
    Checksum,
}

impl Stop {
    pub fn words(&self) -> String {
        match self {
            Self::Unreadable(reason) => reason.clone(),
            Self::Truncated => "the broker no longer has the events from here on".to_owned(),
            Self::Checksum => "the stored bytes do not match the broker's checksum".to_owned(),
        }
    }
}

/// The log's identity; refuses a log whose rules this program does not know.
pub async fn identity(config: &KafkaConfig) -> Result<LogIdentity, Error> {
    let asked = config.clone();
    let found = timeout(PATIENCE, tokio::task::spawn_blocking(move || find_log(&asked)));
    let found = found
        .await
        .map_err(|_| unreachable(config, None))?
        .map_err(|error| Error::Interrupted(error.to_string()))?;
    let log = match found {
        Ok(Some(log)) => log,
        Ok(None) => {
            return Err(no_log(config));
        }
        Err(IdentityError::Kafka(error)) => return Err(unreachable(config, Some(error.to_string()))),
        Err(IdentityError::Read(WriterLogError::Stalled)) => return Err(unreachable(config, None)),
        Err(IdentityError::Read(error)) if !is_damage(&error) => {
            return Err(unreachable(config, Some(error.to_string())));
        }
        Err(error) => return Err(error.into()),
    };
    known_rules(&log.created)?;
    Ok(log)
}

/// Refuses a log whose rules this program does not know.
pub fn known_rules(created: &LogCreated) -> Result<(), Error> {
    if created.ledger_function != domain::LEDGER_FUNCTION {
        return Err(Error::Foreign {
            what: "ledger function",
            found: created.ledger_function.clone(),
            known: domain::LEDGER_FUNCTION.to_owned(),
        });
    }
    if created.chain_version != CHAIN_VERSION {
        return Err(Error::Foreign {
            what: "chain version",
            found: created.chain_version.to_string(),
            known: CHAIN_VERSION.to_string(),
        });
    }
    Ok(())
}

/// The high watermark of each partition at this moment.
pub async fn ends(config: &KafkaConfig, places: &[Place]) -> Result<BTreeMap<Place, i64>, Error> {
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let marks = HighWatermarks::new(config, places.to_vec()).map_err(TailError::from)?;
    let latest = timeout(PATIENCE, marks.latest())
        .await
        .map_err(|_| unreachable(config, None))??;
    Ok(latest.iter().copied().collect())
}

/// A bar on a terminal, nothing elsewhere. Goes to standard error.
pub fn progress(ends: &BTreeMap<Place, i64>) -> ProgressBar {
    let total = ends.values().map(|end| u64::try_from(*end).unwrap_or(0)).sum();
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(
        "{bar:32} {percent:>3}%  {human_pos} of {human_len}  {per_sec}  {eta} left",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Reads each partition from offset 0 until its end. With `headers`, records carry all of theirs.
pub async fn read(
    config: &KafkaConfig,
    ends: &BTreeMap<Place, i64>,
    headers: bool,
    bar: &ProgressBar,
    mut each: impl FnMut(Item<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut open: BTreeMap<Place, Span> = ends
        .iter()
        .filter(|(_, until)| **until > 0)
        .map(|(&p, &until)| (p, Span { next: 0, until }))
        .collect();
    let mut unreadable = BTreeSet::new();
    while !open.is_empty() {
        let start: Vec<_> = open
            .iter()
            .map(|(&(stream, partition), span)| (stream, partition, span.next))
            .collect();
        let mut tail = if headers {
            Tail::open_with_headers(config, &start)?
        } else {
            Tail::open(config, &start)?
        };
        let broken = match drain(&mut tail, config, &mut open, bar, &mut each).await {
            Ok(()) => break,
            Err(Error::Tail(error)) => error,
            Err(error) => return Err(error),
        };
        // One unreadable record ends the whole tail; a new one reads on.
        let (place, offset, stop) = stop_of(broken, &open)?;
        match (stop, open.get_mut(&place)) {
            (Stop::Unreadable(reason), Some(span)) if unreadable.insert(place) => {
                span.next = offset + 1;
                open.retain(|_, span| span.next < span.until);
                each(Item::Unreadable {
                    place,
                    offset,
                    reason,
                })?;
            }
            (stop, _) => {
                open.remove(&place);
                each(Item::Stopped { place, offset, stop })?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

struct Span {
    next: i64,
    until: i64,
}

async fn drain(
    tail: &mut Tail,
    config: &KafkaConfig,
    open: &mut BTreeMap<Place, Span>,
    bar: &ProgressBar,
    each: &mut impl FnMut(Item<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        let items = timeout_at(deadline, tail.next(BATCH))
            .await
            .map_err(|_| unreachable(config, None))??;
        for item in items {
            let (place, next) = match &item {
                TailItem::Record(record) => ((record.stream, record.partition), record.offset + 1),
                TailItem::End {
                    stream,
                    partition,
                    next_offset,
                } => ((*stream, *partition), *next_offset),
            };
            let Some(span) = open.get_mut(&place) else {
                continue;
            };
            if let TailItem::Record(record) = &item
                && record.offset < span.until
            {
                each(Item::Record(record))?;
            }
            let reached = next.min(span.until);
            if reached > span.next {
                bar.inc(reached.abs_diff(span.next));
                span.next = reached;
                deadline = Instant::now() + PATIENCE;
            }
            if span.next >= span.until {
                open.remove(&place);
            }
        }
    }
    Ok(())
}

/// Where an error struck; errors that end all of them come back.
fn stop_of(error: TailError, open: &BTreeMap<Place, Span>) -> Result<(Place, i64, Stop), Error> {
    match error {
        TailError::Record(DecodeError::Header {
            stream,
            partition,
            offset,
            source,
        }) => Ok(((stream, partition), offset, Stop::Unreadable(source.to_string()))),
        TailError::Partition {
            stream,
            partition,
            code,
        } => {
            let place = (stream, partition);
            let offset = open.get(&place).map_or(0, |span| span.next);
            match stop_by_code(&format!("{code:?}")) {
                Some(stop) => Ok((place, offset, stop)),
                None => Err(TailError::Partition {
                    stream,
                    partition,
                    code,
                }
                .into()),
            }
        }
        other => Err(other.into()),
    }
}

/// Kafka's error codes by name, as its client library is none of this crate's business.
fn stop_by_code(text: &str) -> Option<Stop> {
    if text.contains("OffsetOutOfRange") || text.contains("AutoOffsetReset") {
        return Some(Stop::Truncated);
    }
    text.contains("BadMessage").then_some(Stop::Checksum)
}

/// Whether the catalog itself cannot be read, rather than Kafka.
fn is_damage(error: &WriterLogError) -> bool {
    match error {
        WriterLogError::Decode(_)
        | WriterLogError::BrokenChain { .. }
        | WriterLogError::SetBack { .. }
        | WriterLogError::Shorter { .. } => true,
        WriterLogError::Kafka(error) => stop_by_code(&format!("{error:?}")).is_some(),
        WriterLogError::Watermark(_) | WriterLogError::Stalled => false,
    }
}

pub(crate) fn no_log(config: &KafkaConfig) -> Error {
    Error::NoLog {
        bootstrap: config.bootstrap.clone(),
        prefix: config.topic_prefix.clone(),
    }
}

pub(crate) fn unreachable(config: &KafkaConfig, reason: Option<String>) -> Error {
    Error::Unreachable {
        bootstrap: config.bootstrap.clone(),
        reason,
    }
}
