//! Following the log: committed records of chosen partitions, as they come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaErrorCode;
use schemas::{HeaderError, Stream, ce, parse_data_schema};
use tokio::sync::mpsc;

use crate::config::KafkaConfig;
use crate::consumer::Reader;
use crate::native::{Headers, Polled, RawMessage};
use crate::record::{DecodeError, Record, TailItem};
use crate::stuck::StuckWatch;

/// Batches in flight between the polling thread and its reader.
const BUFFERED_BATCHES: usize = 8;
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("reading the log")]
    Kafka(#[from] KafkaError),
    #[error("the log at {stream:?}-{partition} cannot be read on: {code}{}", why(*code))]
    Partition {
        stream: Stream,
        partition: i32,
        code: RDKafkaErrorCode,
    },
    #[error(transparent)]
    Record(#[from] DecodeError),
    #[error("{stream:?}-{partition}@{offset} has sequence {found} in its chain, {expected} was to come")]
    Gap {
        stream: Stream,
        partition: i32,
        offset: i64,
        expected: i64,
        found: i64,
    },
    #[error(
        "{stream:?}-{partition}@{offset} does not follow the record up to which a snapshot was made: the log was altered or made anew"
    )]
    Fork {
        stream: Stream,
        partition: i32,
        offset: i64,
    },
    #[error("{stream:?}-{partition} has more than is read of it: the client lost the partition")]
    Stuck { stream: Stream, partition: i32 },
    #[error("the tail has ended")]
    Ended,
}

impl TailError {
    /// Whether records that should be there are gone, or are not what was written: reading again
    /// cannot help.
    pub fn lost_records(&self) -> bool {
        matches!(
            self,
            Self::Partition {
                code: RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::BadMessage,
                ..
            }
        )
    }
}

fn why(code: RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset => {
            ": what was there is gone, the topic was deleted, made anew or cut"
        }
        _ => "",
    }
}

type Batch = Result<Vec<TailItem>, TailError>;

enum Control {
    Pause(Stream, i32),
    Resume(Stream, i32),
}

/// A reader of the log with a polling thread of its own. A reader that falls behind stops the
/// thread, not the memory.
pub struct Tail {
    batches: mpsc::Receiver<Batch>,
    control: std::sync::mpsc::Sender<Control>,
    leftover: std::vec::IntoIter<TailItem>,
    stop: Arc<AtomicBool>,
}

impl Tail {
    /// Reads on from each `(stream, partition, offset)`.
    pub fn open(config: &KafkaConfig, start: &[(Stream, i32, i64)]) -> Result<Self, TailError> {
        Self::open_with(config, start, Headers::Only(c"ce_dataschema"))
    }

    /// As [`Self::open`], with all headers in the records: for tools that verify them.
    pub fn open_with_headers(config: &KafkaConfig, start: &[(Stream, i32, i64)]) -> Result<Self, TailError> {
        Self::open_with(config, start, Headers::All)
    }

    fn open_with(
        config: &KafkaConfig,
        start: &[(Stream, i32, i64)],
        headers: Headers,
    ) -> Result<Self, TailError> {
        let topics = config.topics();
        let watch = StuckWatch::new(config, start);
        let start: Vec<_> = start.iter().map(|&(s, p, o)| (topics.of(s), p, o)).collect();
        let reader = Reader::open(config, &start, headers)?;
        let (sender, batches) = mpsc::channel(BUFFERED_BATCHES);
        let (control, commands) = std::sync::mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let names = Stream::ALL.map(|s| (topics.of(s), s)).into_iter().collect();
        let follower = Follower {
            reader,
            names,
            headers,
            commands,
            stop: Arc::clone(&stop),
            watch,
            paused: HashSet::new(),
        };
        thread::Builder::new()
            .name("rolecall-tail".to_owned())
            .spawn(move || follower.run(&sender))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self {
            batches,
            control,
            leftover: Vec::new().into_iter(),
            stop,
        })
    }

    /// At least one item and at most `max`, in order within each partition. Cancel-safe.
    pub async fn next(&mut self, max: usize) -> Result<Vec<TailItem>, TailError> {
        if self.leftover.len() == 0 {
            self.leftover = self.batches.recv().await.ok_or(TailError::Ended)??.into_iter();
        }
        Ok(self.leftover.by_ref().take(max).collect())
    }

    /// Stops fetching a partition. Items already buffered still come.
    pub fn pause(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        self.send(Control::Pause(stream, partition))
    }

    pub fn resume(&self, stream: Stream, partition: i32) -> Result<(), TailError> {
        self.send(Control::Resume(stream, partition))
    }

    fn send(&self, control: Control) -> Result<(), TailError> {
        self.control.send(control).map_err(|_| TailError::Ended)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Follower {
    reader: Reader,
    names: HashMap<String, Stream>,
    headers: Headers,
    commands: std::sync::mpsc::Receiver<Control>,
    stop: Arc<AtomicBool>,
    watch: StuckWatch,
    paused: HashSet<(Stream, i32)>,
}

impl Follower {
    fn run(mut self, out: &mpsc::Sender<Batch>) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.obey() {
                // Whether the reader still listens or not, this tail is over.
                return out.blocking_send(Err(error.into())).unwrap_or(());
            }
            let paused = &self.paused;
            if let Some((stream, partition)) = self.watch.look(|place| paused.contains(&place)) {
                let stuck = TailError::Stuck { stream, partition };
                return out.blocking_send(Err(stuck)).unwrap_or(());
            }
            let polled = self.reader.poll(POLL);
            if polled.is_empty() {
                if out.is_closed() {
                    return;
                }
                continue;
            }
            let (items, failure) = self.items(polled);
            for item in &items {
                let (place, next) = item.place_and_next();
                self.watch.read(place, next);
            }
            let began = Instant::now();
            if !items.is_empty() && out.blocking_send(Ok(items)).is_err() {
                return;
            }
            if began.elapsed() > Duration::from_secs(1) {
                self.watch.forget(); // nobody took items, so none were read
            }
            if let Some(failure) = failure {
                return out.blocking_send(Err(failure)).unwrap_or(());
            }
        }
    }

    /// What came before a failure is given first: a reader must see every good record.
    fn items(&self, polled: Vec<Polled>) -> (Vec<TailItem>, Option<TailError>) {
        let mut items = Vec::with_capacity(polled.len());
        for polled in polled {
            match self.item(polled) {
                Ok(item) => items.extend(item),
                Err(failure) => return (items, Some(failure)),
            }
        }
        (items, None)
    }

    fn obey(&mut self) -> Result<(), KafkaError> {
        while let Ok(command) = self.commands.try_recv() {
            let name = |stream| {
                self.names
                    .iter()
                    .find(|(_, s)| **s == stream)
                    .map_or("", |(n, _)| n.as_str())
            };
            match command {
                Control::Pause(stream, partition) => {
                    self.reader.pause(name(stream), partition)?;
                    self.paused.insert((stream, partition));
                }
                Control::Resume(stream, partition) => {
                    self.reader.resume(name(stream), partition)?;
                    self.paused.remove(&(stream, partition));
                }
            }
            let (Control::Pause(stream, partition) | Control::Resume(stream, partition)) = command;
            self.watch.forget_one((stream, partition));
        }
        Ok(())
    }

    fn item(&self, polled: Polled) -> Result<Option<TailItem>, TailError> {
        match polled {
            Polled::Message(message) => match self.names.get(&message.topic) {
                Some(&stream) => Ok(Some(TailItem::Record(to_record(stream, message, self.headers)?))),
                None => Ok(None),
            },
            Polled::End {
                topic,
                partition,
                offset,
            } => Ok(self.names.get(&topic).map(|&stream| TailItem::End {
                stream,
                partition,
                next_offset: offset,
            })),
            Polled::Error {
                topic,
                partition,
                code,
            } => match self.names.get(&topic) {
                Some(&stream) if is_permanent(code) => Err(TailError::Partition {
                    stream,
                    partition,
                    code,
                }),
                _ => {
                    tracing::warn!(%code, topic, partition, "Reading the log: {code}; librdkafka tries again");
                    Ok(None)
                }
            },
        }
    }
}

/// Errors after which reading on would skip records or never succeed.
pub(crate) fn is_permanent(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::Fatal
    )
}

pub(crate) fn to_record(stream: Stream, message: RawMessage, kept: Headers) -> Result<Record, DecodeError> {
    let (partition, offset) = (message.partition, message.offset);
    let event_type = message
        .headers
        .iter()
        .find(|(name, _)| name == ce::DATA_SCHEMA)
        .ok_or(HeaderError::Missing(ce::DATA_SCHEMA))
        .and_then(|(_, value)| parse_data_schema(value))
        .map_err(|source| DecodeError::Header {
            stream,
            partition,
            offset,
            source,
        })?;
    Ok(Record {
        stream,
        partition,
        offset,
        timestamp_ms: message.timestamp_ms,
        key: message.key,
        value: message.value,
        event_type,
        headers: match kept {
            Headers::All => message.headers,
            Headers::Only(_) => Vec::new(),
        },
    })
}
