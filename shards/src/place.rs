//! The log and its shards, as this run sees them.

use anyhow::{Context as _, bail};
use event_log::KafkaConfig;
use event_log::identity::{LogIdentity, find_log};
use read_model::{PoolSettings, Shard, Shards};
use schemas::catalog::ShardMapChanged;
use schemas::{LogId, Stream};
use transport::Trust;

use crate::cli::LogArgs;

pub struct Place {
    pub trust: Trust,
    pub kafka: KafkaConfig,
    pub shards: Shards,
    pub log_id: LogId,
    pub ledgers: i32,
    /// The newest one.
    pub map: ShardMapChanged,
}

impl Place {
    /// Refuses shards that are not those of the log. Nothing is written.
    pub async fn open(args: &LogArgs) -> anyhow::Result<Self> {
        let trust = args.trust.clone();
        trust.check()?;
        let kafka = KafkaConfig::new(&args.kafka, &args.topic_prefix, args.security, &trust)?;
        let shards = args.shards.open(&PoolSettings::operating().trusting(&trust))?;
        let shards = shards.context("no shard is configured")?;
        let log = identity(&kafka).await?;
        let (log_id, ledgers) = (log.created.log_id, log.created.ledgers);
        let holdings = shards.holdings().await?;
        holdings.check(log_id, ledgers, log.shard_map.as_ref())?;
        let Some(map) = log.shard_map else {
            bail!("the log has no shard map yet: its first command service with shards records one");
        };
        Ok(Self {
            trust,
            kafka,
            shards,
            log_id,
            ledgers,
            map,
        })
    }

    pub fn shard(&self, id: i32) -> anyhow::Result<Shard> {
        self.shards
            .get(id)
            .with_context(|| format!("no shard {id} is configured"))
    }

    /// The shard that a ledger is read on.
    pub fn shard_of(&self, ledger: i32) -> anyhow::Result<Shard> {
        self.shard(crate::steps::place(&self.map, ledger).with_context(|| format!("no ledger {ledger}"))?)
    }

    /// The topics that a ledger's rows come from, but for the catalog.
    pub fn topics_of_ledger(&self) -> [(Stream, String); 2] {
        [Stream::Users, Stream::Identifiers].map(|stream| (stream, self.kafka.topics().of(stream)))
    }
}

pub async fn identity(kafka: &KafkaConfig) -> anyhow::Result<LogIdentity> {
    let asking = kafka.clone();
    let found = tokio::task::spawn_blocking(move || find_log(&asking)).await?;
    found?.context("there is no log under this topic prefix")
}
