//! Turns the log into PostgreSQL rows: one worker for each topic partition, rows and checkpoint in
//! one transaction, nothing ever skipped.
//!
//! ```text
//! Kafka -> tail -> router -> queue -> worker: decode, check chain, wait for basis, fold, write
//! ```
//!
//! To add a projection: see [`projections`]. To add a stream: name its partitions in
//! `projection.rs` and give its events a match arm in `projections::Batch::fold`.

mod apply;
mod assignment;
mod config;
mod decode;
mod inbox;
mod opening;
mod progress;
mod projection;
pub mod projections;
mod rebuild;
mod router;
mod shard;
mod source;
mod status;
mod upkeep;
mod worker;

use std::time::Duration;

use event_log::identity::{IdentityError, LogIdentity, await_log};
use event_log::{KafkaConfig, Membership, create_projectors};
use rdkafka::error::KafkaError;
use read_model::{PoolSettings, Shards, schema};
use service_kit::{Readiness, ServeError};
use tokio_util::sync::CancellationToken;

use crate::apply::{Backoff, chain};

pub use assignment::Assignment;
pub use config::Config;
pub use progress::Lane;
pub use projection::{Ending, Known, Projection, ShardError};
pub use rebuild::{Comparison, RebuildError, compare, go_on, positions, rebuild};
pub use source::{Log, Tail};
pub use worker::{Ended, MAX_BATCH};

const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("reading who the log is")]
    Identity(#[from] IdentityError),
    #[error("the shards of the configuration")]
    Shards(#[from] read_model::Error),
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("serving health and metrics")]
    Serve(#[from] ServeError),
    #[error("joining the group of projectors")]
    Group(#[from] KafkaError),
    #[error("setting up metrics")]
    Telemetry(#[from] service_kit::telemetry::TelemetryError),
}

/// Runs the projector until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    config.kafka()?;
    let shards = shards(&config, PoolSettings::projecting())?;
    let metrics = service_kit::telemetry::init_metrics()?;
    let readiness = Readiness::awaiting(["log"]);
    let router = service_kit::http::standard(service_kit::health_router(readiness.clone(), metrics));
    let listener = service_kit::listen(config.listen, &config.certificate, &config.trust).await?;
    let scheme = config.certificate.scheme();
    tracing::info!(address = %config.listen, "Health and metrics at {scheme}://{}", config.listen);
    let following = tokio::spawn(config.shards.clone().follow(shards.clone()));
    let stop = shutdown.child_token();
    let serving = tokio::spawn(service_kit::serve(listener, router, stop.clone(), GRACE));
    let outcome = project(&config, &shards, readiness, shutdown).await;
    following.abort();
    stop.cancel();
    if let Ok(served) = serving.await {
        served?;
    }
    outcome
}

/// The configured shards, not connected yet.
pub fn shards(config: &Config, settings: PoolSettings) -> Result<Shards, RunError> {
    config.trust.check()?;
    let settings = PoolSettings {
        max_connections: config.shard_connections,
        ..settings.trusting(&config.trust)
    };
    match config.shards.open(&settings)? {
        Some(shards) => Ok(shards),
        // Says that there are none.
        None => Ok(Shards::connect_lazy::<&str>(&[], &settings)?),
    }
}

/// Brings the tables of all shards up to date, as their owner.
pub async fn migrate(config: &Config) -> Result<(), RunError> {
    config.trust.check()?;
    let Some(shards) = config
        .shards
        .open(&PoolSettings::owning().trusting(&config.trust))?
    else {
        return Ok(());
    };
    let migrating = shards
        .iter()
        .map(async |shard| schema::migrate(&shard.pool).await);
    futures::future::try_join_all(migrating).await?;
    Ok(())
}

/// Refuses shards that are not those of the log. Nothing is written before.
pub async fn refuse_misfit(shards: &Shards, log: &LogIdentity) -> Result<(), RunError> {
    let (log_id, ledgers) = (log.created.log_id, log.created.ledgers);
    let holdings = shards.holdings().await?;
    Ok(holdings.check(log_id, ledgers, log.shard_map.as_ref())?)
}

async fn project(
    config: &Config,
    shards: &Shards,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let kafka = config.kafka()?;
    let Some(identity) = shutdown
        .run_until_cancelled(await_log(&kafka))
        .await
        .transpose()?
    else {
        return Ok(());
    };
    refuse_misfit(shards, &identity).await?;
    let joining = join(&kafka, shards, &readiness);
    let Some(membership) = shutdown.run_until_cancelled(joining).await.transpose()? else {
        return Ok(());
    };
    let topic = kafka.topics().projectors();
    let sharing = tokio::spawn(share_further(kafka.clone(), shards.clone(), readiness.clone()));
    let projection = Projection {
        assignment: Assignment::shared(topic, membership.share()),
        audit_retention: config.audit_retention(),
        ..Projection::new(kafka, Known::from(identity), shards, readiness)
    };
    let outcome = projection.run(shutdown).await;
    sharing.abort();
    // Only now that nothing is worked on any more: others take over at once.
    membership.leave().await;
    outcome?;
    Ok(())
}

/// Becomes one of the projectors that share the shards.
async fn join(kafka: &KafkaConfig, shards: &Shards, readiness: &Readiness) -> Result<Membership, KafkaError> {
    share_out(kafka, shards.count(), readiness).await;
    Membership::join(kafka, "projectors", &[kafka.topics().projectors()])
}

/// Has what so many shards are shared out by. Tries again while Kafka may still come.
async fn share_out(kafka: &KafkaConfig, count: i32, readiness: &Readiness) {
    let mut backoff = Backoff::default();
    while let Err(error) = create_projectors(kafka, count).await {
        let reason = chain(&error);
        tracing::warn!(
            reason,
            "Making the topic that shards are shared out by: {reason}; trying again"
        );
        readiness.set_not_ready("log", reason);
        tokio::time::sleep(backoff.next_wait()).await;
    }
    readiness.set_ready("log");
}

/// Shards that are added while the projectors run are shared out too.
async fn share_further(kafka: KafkaConfig, shards: Shards, readiness: Readiness) {
    let mut changes = shards.changes();
    loop {
        share_out(&kafka, shards.count(), &readiness).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}
