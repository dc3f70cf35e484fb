//! Starting: the log first, then its ledgers, then the doors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use access_node::{AccessNode, NodeError};
use axum::routing::any;
use event_log::identity::LogIdentity;
use event_log::{
    Bus, CreateError, GroupStatus, Instance, KafkaConfig, KafkaWriterLog, KeyRing, KeyRingError, LogSpec,
    Ownership, create_log,
};
use passwords::HashError;
use read_model::Shards;
use schemas::{LogId, Registry, Stream, WriterId};
use service_kit::docs_ui::docs_router;
use service_kit::health::{Readiness, health_router};
use service_kit::http::standard;
use service_kit::jwt::{Signer, Verifier};
use service_kit::keys::KeyError;
use service_kit::listen;
use service_kit::problem::{Problem, ProblemType, chain};
use service_kit::serve::{Doors, ServeError, serve};
use service_kit::service_key::KeyGuesses;
use service_kit::telemetry::{TelemetryError, init_metrics};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::attempts::Attempts;
use crate::bootstrap::{BootstrapError, bootstrap};
use crate::config::Config;
use crate::decoys::Decoys;
use crate::delivery::{ChannelError, Delivery};
use crate::expiring::expire_grants;
use crate::extent::record_extent;
use crate::guesses::Reminders;
use crate::names::Names;
use crate::passkeys::Passkeys;
use crate::passwords::Passwords;
use crate::peers::{self, Numbers, PeerCalls};
use crate::places::{Places, PlacesError};
use crate::recordings::Recordings;
use crate::routes;
use crate::shards::{self, record_shard_map};
use crate::stopping::finish_sagas;
use crate::write_limits::Writes;

/// Requests in flight get this long to finish when the service stops.
const GRACE: Duration = Duration::from_secs(20);
/// Password resets that are recorded at once; one more is answered 429.
const RESETS: usize = 256;
const OWNED: Duration = Duration::from_millis(20);
const WATCH: Duration = Duration::from_millis(200);
/// An owner whose clock differs more from the broker's writes times that others would not believe.
const CLOCK_TOLERANCE_MS: u64 = 1_000;
/// How often names that a fault left reserved are looked for, while there may be some.
const FINISH_CLAIMS: Duration = Duration::from_secs(2);
/// How often the catalog's owner looks for grants that were approved and not made. Longer than a command takes, so that
/// it does not compete with whoever approves.
const FINISH_APPROVALS: Duration = Duration::from_secs(3);
/// How often a clock that is off is looked at again.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// Why the service does not run. Each message is one line that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("opening the log")]
    Log(#[from] CreateError),
    #[error("reaching Kafka")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    #[error(transparent)]
    Delivery(#[from] ChannelError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("preparing password hashing")]
    Hashing(#[from] HashError),
    #[error("preparing the shards")]
    Shards(#[from] read_model::Error),
    #[error("the shard map cannot be recorded: {0}")]
    ShardMap(#[from] domain::catalog::Error),
    #[error("preparing calls to other instances")]
    Peers(#[from] reqwest::Error),
    #[error(transparent)]
    Places(#[from] PlacesError),
    #[error("ledger {ledger} cannot be served: {reason}")]
    Ledger { ledger: i32, reason: String },
    #[error("the log cannot be followed: {0}")]
    Access(String),
    #[error(
        "ROLECALL_RELYING_PARTY_ORIGINS must be one or more origins within the domain ROLECALL_RELYING_PARTY_ID"
    )]
    RelyingParty,
    #[error("stopped before it was ready")]
    Stopped,
}

/// Imports at once.
const IMPORTS: usize = 2;

/// Runs until `shutdown`, then finishes every accepted command.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), StartError> {
    let shards = shards::configured(&config)?;
    let metrics = init_metrics()?;
    let listener = listen(config.listen, &config.certificate, &config.trust).await?;
    let kafka = config.kafka_config()?;
    let readiness = Readiness::awaiting(["log", "ledgers", "keys", "access", "administrator", "doors"]);
    let health = health_router::<()>(readiness.clone(), metrics);
    // Health answers from the first moment; the API joins it once it can serve.
    let starting = health.clone().route(
        "/{*path}",
        any(async || {
            Problem::new(ProblemType::DependencyUnavailable)
                .detail("the service is starting")
                .retry_after(Duration::from_secs(1))
        }),
    );
    let around = |router| config.origins.around(standard(router));
    let doors = Doors::from(around(starting.clone()));
    let stop_serving = CancellationToken::new();
    let served = tokio::spawn(serve(listener, doors.clone(), stop_serving.clone(), GRACE));
    tracing::info!(address = %config.listen, "Listening on {}", config.listen);
    // Peers may ask as soon as this instance owns something, before it serves anybody else.
    let open_to_peers = |app: &Arc<App>| {
        let peers = peers::router().with_state(Arc::clone(app));
        doors.open(around(starting.clone().merge(peers)));
    };
    let started = tokio::select! {
        started = start(&config, shards.as_ref(), &readiness, open_to_peers) => started,
        () = shutdown.cancelled() => Err(StartError::Stopped),
    };
    let (app, ownership, delivery) = match started {
        Ok(started) => started,
        Err(error) => {
            stop_serving.cancel();
            return Err(error);
        }
    };
    let (router, api) = routes::api();
    let router = router
        .merge(peers::router())
        .with_state(Arc::clone(&app))
        .merge(health)
        .merge(docs_router(api));
    doors.open(around(router));
    readiness.set_ready("doors");
    if let Some(shards) = &shards {
        // Ends with the program.
        tokio::spawn(config.shards.clone().follow(shards.clone()));
    }
    let beats = (kafka, config.key_segment());
    let places = (shards, config.ledgers);
    let watching = tokio::spawn(watch(Arc::clone(&app), places, readiness.clone(), beats));
    let reread = Duration::from_secs(config.keys.keys_reread);
    let rereading = tokio::spawn(Arc::clone(app.verifier.keys()).follow(reread));
    let expiring = tokio::spawn(expire_grants(Arc::clone(&app)));
    shutdown.cancelled().await;
    expiring.abort();
    readiness.set_not_ready("running", "stopping");
    app.reminders.hurry();
    if let Some(delivery) = delivery {
        delivery.stop().await;
    }
    // While others take over, everything is still answered here.
    ownership.hand_over().await;
    stop_serving.cancel();
    let outcome = served.await;
    finish_sagas(&app.sagas, GRACE).await;
    app.bus.shut_down().await;
    watching.abort();
    rereading.abort();
    outcome
        .map_err(|_| StartError::Stopped)?
        .map_err(StartError::Serve)
}

async fn start(
    config: &Config,
    shards: Option<&Shards>,
    readiness: &Readiness,
    open_to_peers: impl FnOnce(&Arc<App>),
) -> Result<(Arc<App>, Ownership, Option<Delivery>), StartError> {
    let kafka = config.kafka_config()?;
    let holdings = shards::holdings(shards).await?;
    let identity = open_log(config, &kafka, holdings.log(), readiness).await?;
    holdings.check(&identity)?;
    readiness.set_ready("log");
    let warm = shards::warm_start(config, shards, &kafka, &identity)?;
    let node = AccessNode::start(&kafka, &identity, warm.clone())?;
    let (instance, bus) = bus(config, &identity, &node)?;
    let app = Arc::new(app(config, &kafka, &identity, (instance, bus), node)?);
    open_to_peers(&app);
    let ownership = own_ledgers(config, shards, &app, &kafka, &identity)?;
    if let Some(warm) = warm {
        tokio::spawn(shards::save_rights(
            warm,
            Arc::clone(&app),
            config.access_snapshot_events,
        ));
    }
    all_owned(&app.bus).await?;
    readiness.set_ready("ledgers");
    read_keys(&app, readiness).await;
    finish_bootstrap(&app, &identity, config).await?;
    record_shard_map(&app, shards, &identity).await?;
    record_extent(&app, &kafka, &identity).await;
    readiness.set_ready("administrator");
    app.node.caught_up().await;
    if let Some(why) = app.node.trouble() {
        return Err(StartError::Access(why));
    }
    readiness.set_ready("access");
    let delivery = Delivery::start(&config.delivery, &app, &kafka, &identity)?;
    Ok((app, ownership, delivery))
}

/// Tries for ever while Kafka or the registry may still come; refuses at once what cannot fit.
pub(crate) async fn open_log(
    config: &Config,
    kafka: &KafkaConfig,
    held: Option<LogId>,
    readiness: &Readiness,
) -> Result<LogIdentity, StartError> {
    let key = config.keys.key_encryption_key()?;
    let spec = LogSpec {
        ledgers: config.ledgers,
        groups: config.writer_groups.min(config.ledgers),
        replication: config.replication,
        index_key_id: config.keys.index_key()?.id(),
        held,
    };
    let (setting, url) = ("ROLECALL_SCHEMA_REGISTRY_URL", &config.schema_registry_url);
    config.trust.check_url(setting, url)?;
    let registry = Registry::new(url, config.trust.http()?).map_err(CreateError::from)?;
    let mut wait = Duration::from_millis(250);
    loop {
        match create_log(kafka, &spec, &key, &registry).await {
            Ok(identity) => return Ok(identity),
            Err(error) if error.is_permanent() => return Err(error.into()),
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!("Opening the log: {reason}; trying again");
                readiness.set_not_ready("log", reason);
            }
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

pub(crate) fn own_ledgers(
    config: &Config,
    shards: Option<&Shards>,
    app: &App,
    kafka: &KafkaConfig,
    identity: &LogIdentity,
) -> Result<Ownership, StartError> {
    let log = Arc::new(KafkaWriterLog::new(kafka, identity.created.log_id)?);
    let (own, owners) = (app.instance.clone(), app.node.owners().clone());
    let snapshots = shards::snapshots(config, shards, app, identity);
    Ok(Ownership::start(
        kafka, log, identity, &app.bus, own, owners, snapshots,
    )?)
}

/// Waits until every ledger has an owner, here or elsewhere.
async fn all_owned(bus: &Bus) -> Result<(), StartError> {
    while !bus.is_owned() {
        if let Some((ledger, reason)) = halted(bus) {
            return Err(StartError::Ledger { ledger, reason });
        }
        tokio::time::sleep(OWNED).await;
    }
    Ok(())
}

/// Where peers reach this instance.
fn advertised(config: &Config) -> String {
    if let Some(url) = &config.advertised_url {
        return url.clone();
    }
    let (host, port) = (config.listen.ip(), config.listen.port());
    let scheme = config.certificate.scheme();
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    match name {
        Some(name) if host.is_unspecified() => format!("{scheme}://{name}:{port}"),
        _ => format!("{scheme}://{}", config.listen),
    }
}

/// The way to every ledger, and this run of the program as the others will know it.
pub(crate) fn bus(
    config: &Config,
    identity: &LogIdentity,
    node: &AccessNode,
) -> Result<(Instance, Bus), StartError> {
    let instance = Instance {
        id: WriterId::new_v7(),
        address: advertised(config),
    };
    let way = PeerCalls::new(config.trust.http()?, config.keys.token_key()?, instance.id)?;
    let bus = Bus::among(
        identity.created.ledgers,
        instance.clone(),
        node.owners().clone(),
        way,
    );
    Ok((instance, bus))
}

pub(crate) fn app(
    config: &Config,
    kafka: &KafkaConfig,
    identity: &LogIdentity,
    (instance, bus): (Instance, Bus),
    node: Arc<AccessNode>,
) -> Result<App, StartError> {
    let created = &identity.created;
    let key_encryption_key = config.keys.key_encryption_key()?;
    let signing_keys = config.keys.signing_keys()?;
    let threads = config
        .hashing_threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let token_key = config.keys.token_key()?;
    let webauthn = config.relying_party.webauthn();
    let passkeys = webauthn.and_then(|webauthn| Passkeys::new(webauthn, &token_key, created.log_id));
    let passkeys = passkeys.map_err(|_| StartError::RelyingParty)?;
    let index_key = config.keys.index_key()?;
    Ok(App {
        instance,
        names: Names::new(bus.clone(), index_key.id()),
        bus,
        peer_calls: Numbers::default(),
        node,
        keys: KeyRing::open(kafka, created.ledgers, created.log_id, key_encryption_key.clone())?,
        index_key,
        key_encryption_key,
        token_key,
        signer: Signer::new(Arc::clone(&signing_keys), config.tokens.clone()),
        verifier: Verifier::new(signing_keys, config.tokens.clone()),
        passwords: Passwords::new(threads, config.hashing_queue, config.hashing.hasher()?)?,
        password_history: config.hashing.password_history,
        passkeys,
        attempts: Attempts::new(config.attempts),
        writes: Writes::new(config.writes),
        decoys: Decoys::default(),
        one_time: config.one_time,
        resets: Arc::new(Semaphore::new(RESETS)),
        key_guesses: KeyGuesses::default(),
        reminders: Reminders::default(),
        recordings: Recordings::default(),
        imports: Arc::new(Semaphore::new(IMPORTS)),
        most_unsaved: config.unsaved_aggregates,
        registration: config.registration,
        relying_party_name: config.relying_party.relying_party_name.clone(),
        sessions: config.sessions,
        places: Places::open(config.geoip_file.as_deref())?,
        token_ttl: config.tokens.ttl(),
        approval_ttl: Duration::from_secs(config.approval_ttl),
        trust_proxy: config.proxy.trust_proxy,
        sagas: TaskTracker::new(),
    })
}

/// Nobody signs in before their key is known: each would ask Kafka for it.
async fn read_keys(app: &App, readiness: &Readiness) {
    let mut wait = Duration::from_millis(250);
    while let Err(error) = app.keys.catch_up().await {
        readiness.set_not_ready("keys", error.to_string());
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
    readiness.set_ready("keys");
}

/// Every step of it is safe to repeat, so what fails for now is tried again.
async fn finish_bootstrap(app: &Arc<App>, identity: &LogIdentity, config: &Config) -> Result<(), StartError> {
    let mut wait = Duration::from_millis(250);
    loop {
        match bootstrap(app, identity.created.administrator, config).await {
            Err(error) if error.may_pass() => tracing::warn!("{error}; trying again"),
            outcome => return Ok(outcome?),
        }
        if let Some((ledger, reason)) = halted(&app.bus) {
            return Err(StartError::Ledger { ledger, reason });
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// What nobody can serve: this instance cannot, and no other one does.
fn halted(bus: &Bus) -> Option<(i32, String)> {
    bus.not_serving()
        .into_iter()
        .find_map(|(place, status)| match status {
            GroupStatus::Halted(halt) if halt.is_of_this_instance() && bus.is_served_elsewhere(place) => None,
            GroupStatus::Halted(halt) => Some((place.1, halt.to_string())),
            GroupStatus::GivenUp | GroupStatus::Claiming(_) | GroupStatus::Serving => None,
        })
}

/// Keeps `/readyz` true to what the ledgers, the node, the keys and the clock say.
async fn watch(
    app: Arc<App>,
    (shards, ledgers): (Option<Shards>, i32),
    readiness: Readiness,
    (kafka, heartbeat): (KafkaConfig, Duration),
) {
    let mut tick = tokio::time::interval(WATCH);
    let mut last_beat = Instant::now();
    let mut last_finish: Option<Instant> = None;
    let mut last_approvals = Instant::now();
    let mut served = Vec::new();
    loop {
        tick.tick().await;
        let serving = app.bus.serving();
        if serving.iter().any(|place| !served.contains(place)) {
            // The former owner may have left names half way.
            app.names.leave_open();
        }
        served = serving;
        let clock_is_off = judge_clock(&app, &readiness);
        if last_beat.elapsed()
            > if clock_is_off {
                CLOCK_CHECK.min(heartbeat)
            } else {
                heartbeat
            }
        {
            app.bus.heartbeat();
            last_beat = Instant::now();
            let (completing, kafka) = (Arc::clone(&app), kafka.clone());
            app.sagas
                .spawn(async move { completing.complete_erasures(&kafka).await });
        }
        let is_time = last_finish.is_none_or(|last| last.elapsed() > FINISH_CLAIMS);
        if is_time && app.names.take_open() {
            last_finish = Some(Instant::now());
            let finishing = Arc::clone(&app);
            app.sagas
                .spawn(async move { finishing.names.finish_open().await });
        }
        let has_catalog = served.contains(&(Stream::Catalog, 0));
        if has_catalog && last_approvals.elapsed() > FINISH_APPROVALS {
            last_approvals = Instant::now();
            let finishing = Arc::clone(&app);
            app.sagas.spawn(async move { finishing.finish_approvals().await });
        }
        match app.keys.trouble() {
            None => readiness.set_ready("keys"),
            Some(why) => readiness.set_not_ready("keys", why),
        }
        match app.bus.not_serving().first() {
            None => readiness.set_ready("ledgers"),
            Some(((stream, partition), status)) => {
                readiness.set_not_ready("ledgers", format!("{}-{partition}: {status:?}", stream.name()));
            }
        }
        shards::follow_map(&app, shards.as_ref(), ledgers, &readiness);
        match app.node.trouble() {
            None => readiness.set_ready("access"),
            Some(why) => readiness.set_not_ready("access", why),
        }
    }
}

/// Whether this machine's clock differs too much from the broker's.
fn judge_clock(app: &App, readiness: &Readiness) -> bool {
    let ahead = app.bus.clock_ahead_ms();
    let is_off = ahead.unsigned_abs() > CLOCK_TOLERANCE_MS;
    if is_off {
        let reason = format!("this machine's clock is {ahead} ms ahead of the broker's");
        readiness.set_not_ready("clock", reason);
    } else {
        readiness.set_ready("clock");
    }
    is_off
}
