//! Reading what a group's partitions hold up to some offsets, and later up to higher ones.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use schemas::Stream;

use crate::config::KafkaConfig;
use crate::consumer::Reader;
use crate::native::{Headers, Polled, RawMessage};
use crate::record::Record;
use crate::tail::{is_permanent, to_record};
use crate::writer_log::WriterLogError;

const POLL: Duration = Duration::from_millis(100);
/// A read that brings nothing for so long has lost the broker.
const STALLED: Duration = Duration::from_secs(15);
const HEADERS: Headers = Headers::Only(c"ce_dataschema");
/// Of what came from behind a range, kept for the next one. More than this is read again.
const AHEAD: usize = 4_000;

/// Goes on where the range before ended, with the connections and what was fetched since: a new client takes 150 ms
/// and more to bring its first record.
#[derive(Default)]
pub struct RangeReader(Option<Open>);

impl Drop for RangeReader {
    /// Closing a client takes 100 ms, which nobody waits for.
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let closing = std::thread::Builder::new().name("rolecall-closing".to_owned());
            // Without a thread it is closed here.
            closing.spawn(move || drop(open)).map(drop).unwrap_or_default();
        }
    }
}

struct Open {
    reader: Reader,
    places: Vec<Place>,
    /// Polled already, from behind the range.
    ahead: Vec<Polled>,
}

struct Place {
    topic: String,
    stream: Stream,
    partition: i32,
    /// Offset behind the last record that was passed on, or where it began.
    passed: i64,
    /// Where the next record may be: behind markers, too.
    next: i64,
}

impl RangeReader {
    /// Reads committed records until each partition's position has reached its end. Ranges are from, until
    /// (exclusive).
    pub(crate) fn read(
        &mut self,
        config: &KafkaConfig,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        if range.iter().all(|(_, _, from, until)| from >= until) {
            return Ok(());
        }
        let kept = self.0.take().filter(|open| open.continues(range));
        let mut open = match kept {
            Some(open) => open,
            None => Open::at(config, range)?,
        };
        open.read(range, each)?;
        // After a failure it is not known what was passed on.
        self.0 = (open.ahead.len() <= AHEAD).then_some(open);
        Ok(())
    }
}

impl Open {
    fn at(config: &KafkaConfig, range: &[(Stream, i32, i64, i64)]) -> Result<Self, KafkaError> {
        let topics = config.topics();
        let place = |&(stream, partition, from, _): &_| Place {
            topic: topics.of(stream),
            stream,
            partition,
            passed: from,
            next: from,
        };
        let places: Vec<Place> = range.iter().map(place).collect();
        let start = places.iter().map(|it| (it.topic.clone(), it.partition, it.next));
        Ok(Self {
            reader: Reader::open(config, &start.collect::<Vec<_>>(), HEADERS)?,
            places,
            ahead: Vec::new(),
        })
    }

    /// Whether the range starts behind what was passed on, and before anything else that may be read.
    fn continues(&self, range: &[(Stream, i32, i64, i64)]) -> bool {
        let fits = |(place, &(stream, partition, from, _)): (&Place, &(Stream, i32, i64, i64))| {
            (stream, partition) == (place.stream, place.partition)
                && (place.passed..=place.next).contains(&from)
        };
        self.places.len() == range.len() && self.places.iter().zip(range).all(fits)
    }

    fn read(
        &mut self,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        let mut last_progress = Instant::now();
        let mut polled = std::mem::take(&mut self.ahead);
        loop {
            for item in polled {
                last_progress = Instant::now();
                self.take(item, range, each)?;
            }
            let is_open = |(place, &(.., until)): (&Place, &(_, _, _, i64))| place.next < until;
            if !self.places.iter().zip(range).any(is_open) {
                return Ok(());
            }
            if last_progress.elapsed() > STALLED {
                return Err(WriterLogError::Stalled);
            }
            polled = self.reader.poll(POLL);
        }
    }

    fn take(
        &mut self,
        item: Polled,
        range: &[(Stream, i32, i64, i64)],
        each: &mut dyn FnMut(Record) -> ControlFlow<WriterLogError>,
    ) -> Result<(), WriterLogError> {
        let (topic, partition) = match &item {
            Polled::Message(RawMessage { topic, partition, .. }) | Polled::End { topic, partition, .. } => {
                (topic, *partition)
            }
            Polled::Error { code, .. } if is_permanent(*code) => {
                return Err(KafkaError::MessageConsumption(*code).into());
            }
            Polled::Error { .. } => return Ok(()),
        };
        let mut found = self.places.iter_mut().zip(range);
        let found = found.find(|(it, _)| it.topic == *topic && it.partition == partition);
        let Some((place, &(.., until))) = found else {
            return Ok(());
        };
        if place.next >= until {
            if self.ahead.len() <= AHEAD {
                self.ahead.push(item);
            }
            return Ok(());
        }
        match item {
            Polled::Message(message) if message.offset >= until => {
                // Only markers and aborted records stood before it.
                place.next = message.offset;
                self.ahead.push(Polled::Message(message));
            }
            Polled::Message(message) => {
                place.next = message.offset + 1;
                place.passed = place.next;
                if let ControlFlow::Break(error) = each(to_record(place.stream, message, HEADERS)?) {
                    return Err(error);
                }
            }
            Polled::End { offset, .. } => place.next = offset.max(place.next),
            Polled::Error { .. } => {}
        }
        Ok(())
    }
}
