//! Creating a log: its topics, `log.created`, and the ids of its schemas.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use schemas::catalog::CatalogEvent;
use schemas::log::{LogCreated, LogEvent, SchemaRegistered};
use schemas::{
    CodecError, Event, EventType, KeyEncryptionKey, LogId, Registry, RegistryError, SchemaIdError, SchemaIds,
    Stream, Timestamp, UserId, schema_text,
};

use crate::config::KafkaConfig;
use crate::group::GroupSpec;
use crate::group_log::{Append, GroupLog};
use crate::identity_reader::{CHAIN_VERSION, IdentityError, LogIdentity, find_log};
use crate::producer::KafkaWriterLog;
use crate::range_reader::RangeReader;
use crate::settle::{Upto, read_on};
use crate::topics;
use crate::watermarks;
use crate::writer_log::{CommitError, WriterLog, WriterLogError, WriterTransaction};

const METADATA: Duration = Duration::from_secs(5);
/// Types that are registered at once.
const REGISTERING: usize = 8;

/// What a new log is made with. An existing one keeps what it has.
#[derive(Clone, Debug)]
pub struct LogSpec {
    pub ledgers: i32,
    /// Writer groups; an existing log's own count wins.
    pub groups: i32,
    /// Kafka's replication factor.
    pub replication: i32,
    pub index_key_id: String,
    /// The log that the configured shards hold, where they hold one: no other is opened, and none is made.
    pub held: Option<LogId>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("reaching Kafka")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Schema(#[from] SchemaIdError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("writing the log's first events")]
    Log(#[from] WriterLogError),
    #[error("writing the log's first events")]
    Commit(#[from] CommitError),
    #[error("writing the log's first events: {0}")]
    Encode(String),
    #[error("the configured {key} is not the one that log {log_id} was created with")]
    WrongKey { key: &'static str, log_id: LogId },
    #[error("the log has {found} ledgers, the configuration says {configured}")]
    Ledgers { found: i32, configured: i32 },
    #[error("the configured shards hold log {held}, and there is no log under this topic prefix")]
    NoLog { held: LogId },
    #[error("the configured shards hold log {held}, and the log under this topic prefix is {found}")]
    OtherLog { held: LogId, found: LogId },
    #[error("topic {topic} holds records, but the catalog has no log.created: not a new log")]
    NotEmpty { topic: String },
    #[error("creating the log was interrupted: {0}")]
    Interrupted(String),
}

impl CreateError {
    /// Whether trying again cannot help: configuration and log do not fit.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::WrongKey { .. }
            | Self::NotEmpty { .. }
            | Self::NoLog { .. }
            | Self::OtherLog { .. }
            | Self::Ledgers { .. }
            | Self::Schema(_)
            | Self::Codec(_)
            | Self::Encode(_) => true,
            Self::Identity(error) => error.is_permanent(),
            Self::Registry(error) => matches!(error, RegistryError::Incompatible { .. }),
            Self::Log(error) => {
                matches!(
                    error,
                    WriterLogError::Decode(_)
                        | WriterLogError::BrokenChain { .. }
                        | WriterLogError::SetBack { .. }
                        | WriterLogError::Shorter { .. }
                )
            }
            Self::Kafka(_) | Self::Commit(_) | Self::Interrupted(_) => false,
        }
    }
}

/// Opens the log under this prefix, creating it if there is none, and refuses one that does not fit
/// the configuration. The registry is asked only when this program knows a schema that the log has
/// no id for. Two programs starting at once make one log: the claim on the catalog decides.
pub async fn create_log(
    config: &KafkaConfig,
    spec: &LogSpec,
    key: &KeyEncryptionKey,
    registry: &Registry,
) -> Result<LogIdentity, CreateError> {
    let found = blocking({
        let config = config.clone();
        move || find_log(&config).map_err(CreateError::from)
    })
    .await?;
    let missing = found
        .as_ref()
        .map_or_else(|| SchemaIds::default().missing(), |log| log.schema_ids.missing());
    if let Some(log) = &found {
        check(&log.created, spec, key)?;
        topics::create_writers(config, log.created.groups, spec.replication).await?;
        if missing.is_empty() {
            return Ok(log.clone());
        }
    } else if let Some(held) = spec.held {
        return Err(CreateError::NoLog { held });
    } else {
        topics::create(config, spec.ledgers, spec.replication).await?;
    }
    let registered = register_schemas(config, registry, &missing).await?;
    let identity = blocking({
        let (config, spec, key) = (config.clone(), spec.clone(), key.clone());
        move || write_first_events(&config, &spec, &key, &registered)
    })
    .await?;
    check(&identity.created, spec, key)?;
    topics::create_writers(config, identity.created.groups, spec.replication).await?;
    Ok(identity)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CreateError> + Send + 'static,
) -> Result<T, CreateError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(CreateError::Interrupted(error.to_string())))
}

fn check(created: &LogCreated, spec: &LogSpec, key: &KeyEncryptionKey) -> Result<(), CreateError> {
    let log_id = created.log_id;
    if let Some(held) = spec.held.filter(|held| *held != log_id) {
        let found = log_id;
        return Err(CreateError::OtherLog { held, found });
    }
    if created.key_check != key.check_value(log_id) {
        return Err(CreateError::WrongKey {
            key: "key-encryption key",
            log_id,
        });
    }
    if created.index_key_id != spec.index_key_id {
        return Err(CreateError::WrongKey {
            key: "index key",
            log_id,
        });
    }
    if created.ledgers != spec.ledgers {
        return Err(CreateError::Ledgers {
            found: created.ledgers,
            configured: spec.ledgers,
        });
    }
    Ok(())
}

/// Registers schemas with the registry, FULL_TRANSITIVE, and gives what the log is to record. Versions of one type go one
/// after the other, as the registry is to have them.
pub async fn register_schemas(
    config: &KafkaConfig,
    registry: &Registry,
    types: &[&'static EventType],
) -> Result<Vec<SchemaRegistered>, CreateError> {
    let of_one_type = types.chunk_by(|one, next| one.name == next.name);
    let registering = of_one_type.map(async |versions| {
        let mut registered = Vec::with_capacity(versions.len());
        for version in versions {
            registered.push(SchemaRegistered {
                event_type: version.name.to_owned(),
                event_version: version.version,
                schema_id: registry.register(&config.topic_prefix, version).await?,
                fingerprint: schema_text(version)?.1,
            });
        }
        Ok::<_, CreateError>(registered)
    });
    let registered = futures::stream::iter(registering).buffered(REGISTERING);
    Ok(registered.try_collect::<Vec<_>>().await?.concat())
}

fn write_first_events(
    config: &KafkaConfig,
    spec: &LogSpec,
    key: &KeyEncryptionKey,
    registered: &[SchemaRegistered],
) -> Result<LogIdentity, CreateError> {
    let catalog = GroupSpec::catalog();
    let log_id = LogId::new_v7();
    let log = KafkaWriterLog::new(config, log_id)?;
    let mut heads = GroupLog::new(log_id, Arc::default(), &catalog.partitions, |stream| {
        config.topics().of(stream)
    });
    let (mut created, mut ids, mut refused) = (None, SchemaIds::default(), None);
    let mut shard_map = None;
    let mut transaction = log.claim(&catalog.transactional_id(), &mut || {})?;
    read_on(
        &log,
        &mut RangeReader::default(),
        &mut heads,
        Upto::All,
        &mut |stored, _| match stored.data {
            Event::Log(LogEvent::Created(event)) => created = Some(event),
            Event::Log(LogEvent::SchemaRegistered(event)) => {
                refused = ids.learn(&event).err().or(refused.take())
            }
            Event::Catalog(CatalogEvent::ShardMapChanged(event)) => shard_map = Some(event),
            _ => {}
        },
    )?;
    if let Some(refused) = refused {
        return Err(refused.into());
    }
    // Another program may have created the log since it was looked for.
    let fresh = created.is_none();
    if fresh {
        require_empty(config, &log, spec.ledgers)?;
    }
    let created = created.unwrap_or_else(|| LogCreated {
        log_id,
        ledgers: spec.ledgers,
        groups: spec.groups,
        ledger_function: domain::ledger::LEDGER_FUNCTION.to_owned(),
        chain_version: CHAIN_VERSION,
        index_key_id: spec.index_key_id.clone(),
        key_check: key.check_value(log_id),
        administrator: UserId::new_v7(),
    });
    let missing = ids.missing();
    let new_ids = registered.iter().filter(|r| {
        missing
            .iter()
            .any(|t| t.name == r.event_type && t.version == r.event_version)
    });
    let mut events = Vec::new();
    if fresh {
        events.push(LogEvent::Created(created.clone()));
    }
    for event in new_ids {
        ids.learn(event)?;
        events.push(LogEvent::SchemaRegistered(event.clone()));
    }
    heads.ids = Arc::new(ids.clone());
    heads.log_id = created.log_id;
    if !events.is_empty() {
        let mut batch = heads.prepare();
        heads
            .add(
                &mut batch,
                &Append::of_log(Stream::Catalog, 0, events),
                Timestamp::now(),
            )
            .map_err(|error| CreateError::Encode(error.to_string()))?;
        transaction.commit(&batch.outgoing)?;
    }
    Ok(LogIdentity {
        created,
        schema_ids: ids,
        shard_map,
    })
}

/// A new log is never written over topics that hold something or have another shape: its keys
/// would open nothing of what is there, and its chains would go on from strangers.
fn require_empty(config: &KafkaConfig, log: &KafkaWriterLog, ledgers: i32) -> Result<(), CreateError> {
    let client: BaseConsumer = watermarks::client(config)?;
    for stream in [Stream::Users, Stream::Identifiers] {
        let topic = config.topics().of(stream);
        let found = topics::partitions(&client, &topic, METADATA)?;
        if found != ledgers {
            return Err(IdentityError::Partitions {
                topic,
                found,
                expected: ledgers,
            }
            .into());
        }
        let partitions: Vec<_> = (0..ledgers).map(|partition| (stream, partition)).collect();
        if log.high_watermarks(&partitions)?.into_iter().any(|end| end > 0) {
            return Err(CreateError::NotEmpty { topic });
        }
    }
    Ok(())
}
