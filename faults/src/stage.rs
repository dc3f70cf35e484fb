//! The world of a campaign: three brokers, two PostgreSQL clusters, several of each service, and
//! proxies between all of them.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use local_rolecall::{LocalRolecall, Service};
use local_stack::{Server, Stack};
use tempfile::TempDir;
use tests::World;

use crate::Settings;
use crate::network::{Instance, Network};
use crate::plan::Shape;

const BROKERS: usize = 3;
const CLUSTERS: usize = 2;
/// The broker whose disk can be full.
const SMALL_DISK: usize = BROKERS - 1;
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

pub struct Stage {
    // The world goes before what its servers stand on.
    pub world: Arc<World>,
    pub network: Network,
    pub instances: Vec<Instance>,
    pub brokers: usize,
    pub faketime: Option<PathBuf>,
    pub disk: Option<SmallDisk>,
    /// What this machine does not allow.
    pub skipped: Vec<String>,
    _folder: TempDir,
}

impl Stage {
    pub async fn build(settings: &Settings) -> Result<Self> {
        let mut skipped = Vec::new();
        let folder = tempfile::Builder::new().prefix("rolecall-faults-").tempdir()?;
        open_to_all(folder.path())?;
        let faketime = noted(faketime().await, "clocks are not shifted", &mut skipped);
        let data = folder.path().join(format!("kafka-{}", SMALL_DISK + 1));
        let disk = noted(SmallDisk::mount(&data), "no disk is full", &mut skipped);
        let instances = instances(settings);
        let stack = Stack::builder()
            .data_dir(folder.path())
            .kafka_nodes(BROKERS)
            .kafka_doors(instances.len())
            .postgres_clusters(CLUSTERS)
            .shards(settings.shards)
            .start()
            .await?;
        let network = Network::between(&instances, &stack).await?;
        let builder = LocalRolecall::builder()
            .commands(settings.commands)
            .queries(settings.queries)
            .projectors(settings.projectors)
            .env("ROLECALL_REPLICATION", BROKERS.to_string());
        let builder = network.lead(builder, &instances, &stack);
        let started = AssertUnwindSafe(World::on(stack, builder)).catch_unwind().await;
        let Ok(world) = started else {
            let logs = folder.keep().join("logs");
            bail!("the services do not start; the logs are in {}", logs.display());
        };
        Ok(Self {
            world: Arc::new(world),
            network,
            instances,
            brokers: BROKERS,
            faketime,
            disk,
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
            small_disk: self.disk.as_ref().map(|_| SMALL_DISK),
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

/// A file system in memory that can be made as small as what it holds.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        mount(&["-t", "tmpfs", "-o", "size=8g", "tmpfs"], path)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub fn fill(&self) -> Result<()> {
        let output = Command::new("df")
            .args(["--output=used", "-B1"])
            .arg(&self.path)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let used: u64 = text.lines().last().unwrap_or_default().trim().parse()?;
        mount(
            &["-o", &format!("remount,size={}", used.max(4_096)), "tmpfs"],
            &self.path,
        )
    }

    pub fn free(&self) -> Result<()> {
        mount(&["-o", "remount,size=8g", "tmpfs"], &self.path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(path).output()?;
    if !output.status.success() {
        bail!("mount: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
