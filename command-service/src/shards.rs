//! The configured shards: whether they are those of the log, and the map that says which ledger lies where.

use std::sync::Arc;
use std::time::Duration;

use access_node::WarmStart;
use domain::catalog::{Catalog, CatalogCommand, ChangeShardMap};
use event_log::identity::LogIdentity;
use event_log::{BusError, CommandContext, KafkaConfig, SnapshotKey, Snapshots};
use read_model::{PoolSettings, Shards};
use schemas::{LogId, RequestId, Stream};
use service_kit::health::Readiness;

use crate::app::App;
use crate::config::Config;
use crate::snapshots::ShardSnapshots;
use crate::startup::StartError;

const AGAIN: Duration = Duration::from_secs(1);
const TRIES: usize = 2;

/// `None` where none are configured.
pub fn configured(config: &Config) -> Result<Option<Shards>, StartError> {
    let shards = config
        .shards
        .open(&PoolSettings::saving().trusting(&config.trust))?;
    if shards.is_none() {
        tracing::info!("No shards are configured: nothing is saved, and each start reads the whole log");
    }
    Ok(shards)
}

/// What the shards hold, asked before there is anything to do with the log.
pub struct Holdings<'a>(Option<read_model::Holdings<'a>>);

pub async fn holdings(shards: Option<&Shards>) -> Result<Holdings<'_>, StartError> {
    Ok(Holdings(match shards {
        Some(shards) => Some(shards.holdings().await?),
        None => None,
    }))
}

impl Holdings<'_> {
    pub fn log(&self) -> Option<LogId> {
        self.0.as_ref().and_then(|holdings| holdings.log())
    }

    /// Refuses shards that are not those of the log.
    pub fn check(&self, log: &LogIdentity) -> Result<(), StartError> {
        let Some(holdings) = &self.0 else {
            return Ok(());
        };
        let (log_id, ledgers) = (log.created.log_id, log.created.ledgers);
        Ok(holdings.check(log_id, ledgers, log.shard_map.as_ref())?)
    }
}

/// Where aggregates are saved.
pub fn snapshots(
    config: &Config,
    shards: Option<&Shards>,
    app: &App,
    identity: &LogIdentity,
) -> Option<Snapshots> {
    let (log_id, ledgers) = (identity.created.log_id, identity.created.ledgers);
    let key = SnapshotKey::new(&app.token_key.derive("snapshot", log_id.as_uuid(), 0, &[]));
    let store = Arc::new(ShardSnapshots::new(shards?.clone(), log_id, ledgers));
    Some(Snapshots::new(store, key, config.resident_aggregates))
}

/// Where the node starts from.
pub fn warm_start(
    config: &Config,
    shards: Option<&Shards>,
    kafka: &KafkaConfig,
    identity: &LogIdentity,
) -> Result<Option<WarmStart>, StartError> {
    let Some(shards) = shards else { return Ok(None) };
    let index_key = config.keys.index_key()?;
    Ok(Some(WarmStart::new(shards.clone(), &index_key, kafka, identity)))
}

/// Whoever owns a ledger saves what checks need of it, for all nodes.
pub async fn save_rights(warm: WarmStart, app: Arc<App>, events: i64) {
    let is_mine = |ledger| app.bus.serving().contains(&(Stream::Users, ledger));
    warm.save(Arc::clone(&app.node), events, is_mine).await;
}

/// The first command service with shards says for ever where ledgers lie. One that starts at the same time
/// with others is refused by the catalog's decision. Where the catalog's owner takes no map, such as one of an
/// older version, the next start records it.
pub async fn record_shard_map(
    app: &App,
    shards: Option<&Shards>,
    identity: &LogIdentity,
) -> Result<(), StartError> {
    let Some(shards) = shards.filter(|_| identity.shard_map.is_none()) else {
        return Ok(());
    };
    let ledgers = identity.created.ledgers;
    let map = shards.map().first_map(ledgers);
    for _ in 0..TRIES {
        let command = CatalogCommand::ChangeShardMap(ChangeShardMap {
            map: map.clone(),
            ledgers,
        });
        let context = CommandContext::system(RequestId::new_v7());
        match app.bus.execute::<Catalog>("catalog", command, context).await {
            Ok(_) => return Ok(()),
            Err(BusError::Refused(refusal)) => return Err(refusal.into()),
            Err(error) => tracing::warn!("Recording the shard map: {error}; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// Goes by the log's newest map, and says whether every ledger is where the configuration knows a shard.
pub fn follow_map(app: &App, shards: Option<&Shards>, ledgers: i32, readiness: &Readiness) {
    let Some(shards) = shards else { return };
    if let Some(map) = &app.node.aside().shard_map {
        shards.take_map(map);
    }
    match shards.misfit(ledgers) {
        None => readiness.set_ready("shard-map"),
        Some(misfit) => readiness.set_not_ready("shard-map", misfit.to_string()),
    }
}
