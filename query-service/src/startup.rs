//! Starting the service, and serving until told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use access_node::{AccessNode, NodeError, WarmStart};
use axum::Router;
use axum::routing::any;
use event_log::identity::{IdentityError, LogIdentity, await_log};
use event_log::{KeyRing, KeyRingError};
use read_model::Shards;
use schemas::KeyEncryptionKey;
use service_kit::health::{Readiness, health_router};
use service_kit::jwt::Verifier;
use service_kit::keys::KeyError;
use service_kit::problem::{Problem, ProblemType};
use service_kit::serve::{Doors, ServeError, serve};
use service_kit::telemetry::{TelemetryError, init_metrics};
use service_kit::{Listener, Protocol, http, listen};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Decisions};
use crate::config::Config;
use crate::grpc::{self, Health};
use crate::personal_data::DataKeys;
use crate::reads::{ShardReads, pool_settings};
use crate::routes;

/// Requests in flight at the end get this long.
const GRACE: Duration = Duration::from_secs(10);
const LOG: &str = "log";
const KEYS: &str = "keys";
const SHARDS: &str = "shards";
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Each message is the one line an operator needs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("the key-encryption key is not the one this log was created with")]
    ForeignKey,
    #[error("the index key is not the one this log was created with")]
    ForeignIndexKey,
    #[error("the configured shards")]
    Shards(#[from] read_model::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("following the log")]
    Node(#[from] NodeError),
    #[error("following the data keys")]
    KeyRing(#[from] KeyRingError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("asking for the address served on")]
    Address(#[source] std::io::Error),
    #[error("describing what is served over gRPC")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Runs the service on its configured address until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), StartError> {
    config.kafka_config()?;
    let listener = listen(config.listen, &config.certificate, &config.trust).await?;
    let address = listener.local_addr().map_err(StartError::Address)?;
    let readiness = Readiness::awaiting([LOG]);
    let health = health_router::<()>(readiness.clone(), init_metrics()?);
    // Health answers from the first moment: to wait for the log is no reason to be restarted.
    let doors = Doors::from(config.origins.around(health.clone().merge(starting_router())));
    tracing::info!(%address, "Serving on {address}");
    let health_over_grpc = Health::starting().await;
    let grpc_doors = Doors::from(grpc::starting_router(&health_over_grpc));
    let by_grpc = grpc_listener(&config)
        .await?
        .map(|listener| (listener, grpc_doors.clone()));
    let serving = serve_all((listener, doors.clone()), by_grpc, &shutdown);
    tokio::pin!(serving);
    let telling = health_over_grpc
        .clone()
        .follow(readiness.clone(), shutdown.clone());
    let telling = tokio::spawn(telling);
    let app = tokio::select! {
        served = &mut serving => return Ok(served?),
        app = start(&config, config.public_url(address)) => app?,
    };
    let router = health.merge(routes::router(Arc::clone(&app)));
    doors.open(config.origins.around(router));
    grpc_doors.open(grpc::router(
        Arc::clone(&app),
        &health_over_grpc,
        shutdown.clone(),
    )?);
    let reread = Duration::from_secs(config.keys.keys_reread);
    let rereading = tokio::spawn(Arc::clone(app.verifier.keys()).follow(reread));
    let following = config.shards.clone().follow(app.shards.configured().clone());
    let following = tokio::spawn(following);
    let watching = tokio::spawn(watch(app, readiness));
    let served = serving.await;
    watching.abort();
    rereading.abort();
    following.abort();
    telling.abort();
    Ok(served?)
}

async fn grpc_listener(config: &Config) -> Result<Option<Listener>, StartError> {
    let Some(address) = config.grpc_listen else {
        return Ok(None);
    };
    let listener = listen(address, &config.certificate, &config.trust).await?;
    tracing::info!(%address, "Serving gRPC on {address}");
    Ok(Some(listener.speaking(Protocol::Http2)))
}

/// Each on its own address, all until `shutdown`.
async fn serve_all(
    (listener, doors): (Listener, Doors),
    by_grpc: Option<(Listener, Doors)>,
    shutdown: &CancellationToken,
) -> Result<(), ServeError> {
    let over_http = serve(listener, doors, shutdown.clone(), GRACE);
    let Some((listener, doors)) = by_grpc else {
        return over_http.await;
    };
    let over_grpc = serve(listener, doors, shutdown.clone(), GRACE);
    tokio::try_join!(over_http, over_grpc).map(drop)
}

/// Every call until the log is read, within what surrounds the later ones: callers find their request id in any answer.
fn starting_router() -> Router {
    let routes = Router::new()
        .route("/", any(starting))
        .route("/{*path}", any(starting));
    http::standard_with_plain(routes, "/access/")
}

async fn starting() -> Problem {
    Problem::new(ProblemType::NotYet).detail("the service is starting")
}

async fn start(config: &Config, public_url: String) -> Result<Arc<App>, StartError> {
    let key = config.keys.key_encryption_key()?;
    let verifier = Verifier::new(config.keys.verifying_keys()?, config.tokens.clone());
    let settings = pool_settings(config.shard_connections).trusting(&config.trust);
    let shards = match config.shards.open(&settings)? {
        Some(shards) => shards,
        // Says that there are none.
        None => Shards::connect_lazy::<&str>(&[], &settings)?,
    };
    let kafka = config.kafka_config()?;
    let log = await_log(&kafka).await?;
    refuse_foreign(config, &log, &key)?;
    let (log_id, ledgers) = (log.created.log_id, log.created.ledgers);
    let holdings = shards.holdings().await?;
    holdings.check(log_id, ledgers, log.shard_map.as_ref())?;
    tracing::info!(log.id = %log_id, "Following log {log_id} with {ledgers} ledgers");
    let index_key = match config.keys.index_key_file {
        Some(_) => Some(config.keys.index_key()?),
        None => None,
    };
    let warm = index_key
        .as_ref()
        .map(|key| WarmStart::new(shards.clone(), key, &kafka, &log));
    let data_keys = DataKeys::Log(KeyRing::open(&kafka, ledgers, log_id, key)?);
    Ok(Arc::new(App {
        node: AccessNode::start(&kafka, &log, warm)?,
        verifier,
        tokens: config.tokens.clone(),
        data_keys,
        index_key,
        shards: ShardReads::new(shards, kafka.topics(), log_id, ledgers),
        public_url,
        decisions: Decisions::default(),
        key_guesses: service_kit::service_key::KeyGuesses::default(),
    }))
}

/// Under another key everything would be read and nothing would be right.
fn refuse_foreign(config: &Config, log: &LogIdentity, key: &KeyEncryptionKey) -> Result<(), StartError> {
    let created = &log.created;
    if key.check_value(created.log_id) != created.key_check {
        return Err(StartError::ForeignKey);
    }
    // It proves the snapshots that a start goes on from; one that is wrong would never find any.
    if config.keys.index_key_file.is_some() && config.keys.index_key()?.id() != created.index_key_id {
        return Err(StartError::ForeignIndexKey);
    }
    Ok(())
}

/// Tells `/readyz` whether the node can answer, and personal data can be opened.
async fn watch(app: Arc<App>, readiness: Readiness) {
    app.node.caught_up().await;
    let mut seen = HashMap::new();
    loop {
        app.shards.raise_floor(&app.node, &mut seen);
        match app.node.trouble() {
            None => readiness.set_ready(LOG),
            Some(why) => readiness.set_not_ready(LOG, why),
        }
        match app.data_keys.trouble() {
            None => readiness.set_ready(KEYS),
            Some(why) => readiness.set_not_ready(KEYS, why),
        }
        match app.shards_misfit() {
            None => readiness.set_ready(SHARDS),
            Some(why) => readiness.set_not_ready(SHARDS, why),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_call_before_the_start_is_over_gets_its_request_id_back() {
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        for (method, path, id, media_type) in [
            ("GET", "/", uuid, "application/problem+json"),
            ("GET", "/v1/roles", uuid, "application/problem+json"),
            (
                "POST",
                "/access/v1/evaluation",
                "any form",
                "text/plain; charset=utf-8",
            ),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("x-request-id", id).body(Body::empty());
            let answer = starting_router().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), 503, "{path}");
            assert_eq!(answer.headers()["x-request-id"], id, "{path}");
            assert_eq!(answer.headers()["content-type"], media_type, "{path}");
        }
    }
}
