//! The world of a campaign: three brokers, two PostgreSQL clusters, several of each service, and
//! proxies between all of them.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use local_rolecall::{LocalRolecall, Service};
use local_stack::{Server, Stack};
use tempfile::TempDir;
use tests::World;

use crate::Settings;
use crate::disk::{FOLDER, SmallDisk, unmount_leftovers};
use crate::namespaces::{Map, Namespaces};
use crate::network::{Instance, Network};
use crate::plan::Shape;

const BROKERS: usize = 3;
const CLUSTERS: usize = 2;
/// The broker and the cluster whose disks can be full.
const SMALL_BROKER: usize = BROKERS - 1;
const SMALL_CLUSTER: usize = CLUSTERS - 1;
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub struct Stage {
    // The world goes before what its servers stand on.
    pub world: Arc<World>,
    pub network: Network,
    pub map: Map,
    pub instances: Vec<Instance>,
    pub brokers: usize,
    pub faketime: Option<PathBuf>,
    pub broker_disk: Option<SmallDisk>,
    pub cluster_disk: Option<SmallDisk>,
    /// What this machine does not allow.
    pub skipped: Vec<String>,
    _folder: TempDir,
}

impl Stage {
    pub async fn build(settings: &Settings) -> Result<Self> {
        let mut skipped = Vec::new();
        unmount_leftovers()?;
        let prefix = format!("{FOLDER}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        open_to_all(folder.path())?;
        let faketime = noted(faketime().await, "clocks are not shifted", &mut skipped);
        let data = folder.path().join(format!("kafka-{}", SMALL_BROKER + 1));
        let broker_disk = noted(SmallDisk::mount(&data), "no broker's disk is full", &mut skipped);
        let data = folder.path().join("small-disk");
        let cluster_disk = noted(SmallDisk::mount(&data), "no cluster's disk is full", &mut skipped);
        let instances = instances(settings);
        let namespaces = Namespaces::around(&last_of_each(&instances));
        let map = Map::new(noted(
            namespaces,
            "no service is cut off from everything",
            &mut skipped,
        ));
        let stack = Stack::builder()
            .data_dir(folder.path())
            .kafka_nodes(BROKERS)
            .kafka_doors(instances.iter().map(|it| map.gate(*it)))
            .postgres_clusters(CLUSTERS)
            .shards(settings.shards)
            .start()
            .await?;
        if let Some(disk) = &cluster_disk {
            disk.take(&stack, SMALL_CLUSTER).await?;
        }
        let network = Network::between(&instances, &stack, &map).await?;
        let builder = LocalRolecall::builder()
            .commands(settings.commands)
            .queries(settings.queries)
            .projectors(settings.projectors)
            .env("ROLECALL_REPLICATION", BROKERS.to_string());
        let builder = map.settle(network.lead(builder, &instances, &stack));
        let started = AssertUnwindSafe(World::on(stack, builder)).catch_unwind().await;
        let Ok(world) = started else {
            let logs = folder.keep().join("logs");
            bail!("the services do not start; the logs are in {}", logs.display());
        };
        Ok(Self {
            world: Arc::new(world),
            network,
            map,
            instances,
            brokers: BROKERS,
            faketime,
            broker_disk,
            cluster_disk,
            skipped,
            _folder: folder,
        })
    }

    pub fn shape(&self) -> Shape {
        Shape {
            instances: self.instances.clone(),
            brokers: BROKERS,
            clusters: CLUSTERS,
            ledgers: usize::try_from(self.world.ledgers()).unwrap_or(1),
            can_shift_clocks: self.faketime.is_some(),
            small_disk: self.broker_disk.as_ref().map(|_| SMALL_BROKER),
            small_cluster: self.cluster_disk.as_ref().map(|_| SMALL_CLUSTER),
            in_namespaces: self.map.inside(),
        }
    }

    pub fn server(&self, instance: Instance) -> &Server {
        self.world.rolecall.server(instance.service, instance.index)
    }

    /// Lets everything pass and waits until everything serves.
    pub async fn heal(&self) -> Result<()> {
        self.network.heal();
        let servers = || self.world.stack.servers().chain(self.world.rolecall.all());
        for server in servers() {
            if server.pid().is_none() {
                server.start_with(&[]).await?;
            }
            server.resume()?;
        }
        self.until_in_sync().await?;
        for server in servers() {
            let ready = tokio::time::timeout(Duration::from_secs(90), server.ready());
            ready
                .await
                .with_context(|| format!("{} does not get ready", server.name()))??;
        }
        Ok(())
    }
}

fn instances(settings: &Settings) -> Vec<Instance> {
    let of = |service, count| (0..count).map(move |index| Instance { service, index });
    of(Service::Command, settings.commands)
        .chain(of(Service::Query, settings.queries))
        .chain(of(Service::Projector, settings.projectors))
        .collect()
}

/// The last command service and the last query service.
fn last_of_each(instances: &[Instance]) -> Vec<Instance> {
    let last = |service| instances.iter().rfind(|it| it.service == service).copied();
    let each = [Service::Command, Service::Query].map(last);
    each.into_iter().flatten().collect()
}

fn noted<T>(outcome: Result<T>, what: &str, skipped: &mut Vec<String>) -> Option<T> {
    outcome
        .inspect_err(|error| skipped.push(format!("{what}: {error:#}")))
        .ok()
}

/// PostgreSQL runs as another user than root.
fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?;
    Ok(())
}

async fn faketime() -> Result<PathBuf> {
    let library = PathBuf::from(FAKETIME);
    if !library.exists() {
        local_stack::install_package("libfaketime").await?;
    }
    anyhow::ensure!(library.exists(), "{FAKETIME} is not there");
    Ok(library)
}
