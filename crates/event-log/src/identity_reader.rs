//! Who the log is: read from its first event before anything else happens.

use std::time::Duration;

use domain::ledger::LEDGER_FUNCTION;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use schemas::catalog::{CatalogEvent, ShardMapChanged};
use schemas::log::{LogCreated, LogEvent};
use schemas::{Event, SchemaIdError, SchemaIds, Stream};

use crate::config::KafkaConfig;
use crate::extent;
use crate::group_log::flow;
use crate::range_reader::RangeReader;
use crate::record::decode_unchecked;
use crate::topics;
use crate::watermarks;
use crate::writer_log::WriterLogError;

/// Version of the hash chain's rules, see [`schemas::link`].
pub(crate) const CHAIN_VERSION: i32 = 1;
const METADATA: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// Who the log is, and the schema ids it uses.
#[derive(Clone, Debug, PartialEq)]
pub struct LogIdentity {
    pub created: LogCreated,
    pub schema_ids: SchemaIds,
    /// The last one, where the log has any.
    pub shard_map: Option<ShardMapChanged>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("asking Kafka for the log")]
    Kafka(#[from] KafkaError),
    #[error("reading the log's first events")]
    Read(#[from] WriterLogError),
    #[error(transparent)]
    Schema(#[from] SchemaIdError),
    #[error("topic {topic} has {found} partitions, the log was created with {expected}")]
    Partitions {
        topic: String,
        found: i32,
        expected: i32,
    },
    #[error(
        "topic {topic} holds records, but the catalog has no log.created: the catalog was deleted or made anew"
    )]
    CatalogLost { topic: String },
    #[error(
        "{topic}-{partition} {found}, but the log had come to offset {reached} there: the topic was deleted, made anew or cut"
    )]
    Lost {
        topic: String,
        partition: i32,
        found: String,
        reached: i64,
    },
    #[error("the catalog's first event is {0}, not log.created: this is not a Rolecall log")]
    NotALog(&'static str),
    #[error("the log says its {rule} is {found:?}, and this program knows only {known:?}")]
    Rules {
        rule: &'static str,
        found: String,
        known: String,
    },
}

impl IdentityError {
    /// Whether waiting cannot help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Partitions { .. }
            | Self::CatalogLost { .. }
            | Self::Lost { .. }
            | Self::NotALog(_)
            | Self::Rules { .. }
            | Self::Schema(_) => true,
            Self::Read(error) => matches!(error, WriterLogError::Decode(_)),
            Self::Kafka(_) => false,
        }
    }
}

/// The log under this prefix, or `None` where there is none yet. Blocks.
pub fn find_log(config: &KafkaConfig) -> Result<Option<LogIdentity>, IdentityError> {
    let client: BaseConsumer = watermarks::client(config)?;
    find(&client, config).inspect_err(|error| {
        if !error.is_permanent() {
            watermarks::tell_why(&client);
        }
    })
}

fn find(client: &BaseConsumer, config: &KafkaConfig) -> Result<Option<LogIdentity>, IdentityError> {
    let catalog = config.topics().of(Stream::Catalog);
    // Looked at first: whatever is there by now was written after the catalog's first event.
    let holding = holding(client, config)?;
    let absent = |holding: Option<String>| match holding {
        None => Ok(None),
        Some(topic) => Err(IdentityError::CatalogLost { topic }),
    };
    if topics::partitions(client, &catalog, METADATA)? == 0 {
        return absent(holding);
    }
    let end = watermarks::query(client, config, &[(Stream::Catalog, 0)]).map_err(WriterLogError::from)?;
    let begin = extent::begin_of_catalog(client, config)?;
    if begin > 0 {
        return Err(IdentityError::Lost {
            topic: catalog,
            partition: 0,
            found: format!("begins at offset {begin}"),
            reached: end[0],
        });
    }
    let (mut created, mut ids, mut refused) = (None, SchemaIds::default(), None);
    let (mut reached, mut shard_map) = (Vec::new(), None);
    RangeReader::default().read(config, &[(Stream::Catalog, 0, 0, end[0])], &mut |record| {
        let name = record.event_type.name;
        if created.is_none() && name != "log.created" && refused.is_none() {
            refused = Some(IdentityError::NotALog(name));
        }
        if !matches!(
            name,
            "log.created" | "schema.registered" | "catalog.extent_recorded" | "shard_map_changed"
        ) {
            return flow(Ok(()));
        }
        flow(
            decode_unchecked(&record)
                .map_err(WriterLogError::from)
                .map(|(_, stored)| match stored.data {
                    Event::Log(LogEvent::Created(event)) => {
                        created.get_or_insert(event);
                    }
                    Event::Log(LogEvent::SchemaRegistered(event)) => {
                        let (name, version) = (&event.event_type, event.event_version);
                        match ids.learn(&event) {
                            Ok(true) => {}
                            Ok(false) => {
                                tracing::warn!("The log knows {name}/{version}, and this program does not")
                            }
                            Err(error) => {
                                refused.get_or_insert(error.into());
                            }
                        }
                    }
                    Event::Catalog(CatalogEvent::ExtentRecorded(event)) => reached = event.ends,
                    Event::Catalog(CatalogEvent::ShardMapChanged(event)) => shard_map = Some(event),
                    _ => {}
                }),
        )
    })?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let Some(created) = created else {
        return absent(holding);
    };
    check_rules(&created)?;
    for (topic, expected) in [
        (config.topics().of(Stream::Users), created.ledgers),
        (config.topics().of(Stream::Identifiers), created.ledgers),
        (config.topics().keys(), created.ledgers),
        (catalog, 1),
    ] {
        let found = topics::partitions(client, &topic, METADATA)?;
        if found != expected {
            return Err(IdentityError::Partitions {
                topic,
                found,
                expected,
            });
        }
    }
    extent::check(client, config, &reached)?;
    Ok(Some(LogIdentity {
        created,
        schema_ids: ids,
        shard_map,
    }))
}

/// A topic that only a log with a catalog can have written.
fn holding(client: &BaseConsumer, config: &KafkaConfig) -> Result<Option<String>, IdentityError> {
    let mut streams = Vec::new();
    for stream in [Stream::Users, Stream::Identifiers] {
        let partitions = topics::partitions(client, &config.topics().of(stream), METADATA)?;
        streams.push((stream, partitions));
    }
    Ok(extent::holding(client, config, &streams)?)
}

/// Under other rules of placing users or chaining records everything would be read wrong.
fn check_rules(created: &LogCreated) -> Result<(), IdentityError> {
    let rules = [
        (
            "ledger function",
            created.ledger_function.clone(),
            LEDGER_FUNCTION.to_owned(),
        ),
        (
            "chain version",
            created.chain_version.to_string(),
            CHAIN_VERSION.to_string(),
        ),
    ];
    match rules.into_iter().find(|(_, found, known)| found != known) {
        None => Ok(()),
        Some((rule, found, known)) => Err(IdentityError::Rules { rule, found, known }),
    }
}

/// Waits with back-off until the log exists and Kafka answers; refuses one that does not fit.
pub async fn await_log(config: &KafkaConfig) -> Result<LogIdentity, IdentityError> {
    let mut wait = BACKOFF;
    loop {
        let looked = config.clone();
        let outcome = tokio::task::spawn_blocking(move || find_log(&looked)).await;
        match outcome {
            // Types that the log has no id for yet are no reason to wait: readers are upgraded first.
            Ok(Ok(Some(identity))) => return Ok(identity),
            Ok(Ok(None)) => tracing::info!("Waiting for the log to be created"),
            Ok(Err(error)) if error.is_permanent() => return Err(error),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Waiting for the log: {error}"
                )
            }
            Err(error) => tracing::warn!(%error, "Waiting for the log: {error}"),
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}
