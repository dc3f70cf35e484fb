//! Apache Kafka in KRaft mode: combined broker and controller nodes with a static quorum.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::RngExt;

use crate::jvm::{self, Java};
use crate::{Certificates, Launch, Probe, Result, files, maven, ports};

/// Not 4.1 to 4.3: their coordinators leave a transaction open for ever where a partition has no leader for a
/// moment (KAFKA-20734), see `docs/adr/0007-kafka-version.md`.
const VERSION: &str = "4.0.2";
const ARTIFACTS: [&str; 2] = [
    "org.apache.kafka:kafka_2.13:4.0.2",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
];
/// What the storage tool writes besides ids: the feature levels, the same for each cluster of a version.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// The installed program.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    home: PathBuf,
    java: Java,
}

/// One node of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub id: i32,
    pub port: u16,
    pub controller_port: u16,
    pub doors: Vec<Door>,
    /// What it speaks TLS with.
    pub tls: Option<Certificates>,
}

/// A further listener of a node, whose clients are sent to another address: something must listen
/// there and pass on, and may fail to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Where the node listens.
    pub port: u16,
    /// Where its clients are told to find it.
    pub advertised: SocketAddrV4,
}

impl Kafka {
    pub fn new(cache: &Path, java: Java) -> Self {
        Self {
            home: cache.join(format!("kafka-{VERSION}")),
            java,
        }
    }

    pub fn is_fetched(&self) -> bool {
        self.home.is_dir()
    }

    pub fn has_archive(&self) -> bool {
        self.java.archive(&self.home).is_file()
    }

    pub fn fetch(&self) -> Result<()> {
        files::build_once(&self.home, |partial| {
            let jars = partial.join("libs");
            maven::copy_with_dependencies(&ARTIFACTS, partial, &jars)?;
            self.write_bootstrap(partial, &jars)
        })
    }

    pub async fn write_archive(&self) -> Result<()> {
        let work = files::temp_dir("rolecall-kafka-", None)?;
        jvm::write_archive(&self.java, &self.home, async |flag| {
            let node = Node {
                id: 1,
                port: ports::free()?,
                controller_port: ports::free()?,
                doors: vec![],
                tls: None,
            };
            let log = work.path().join("kafka.log");
            self.launch(
                &[node],
                0,
                &work.path().join("data"),
                &log,
                &new_cluster_id(),
                vec![flag],
            )
        })
        .await
    }

    /// Formats the storage unless it was before, and says how to start node `index` of `nodes`.
    pub fn prepare(
        &self,
        nodes: &[Node],
        index: usize,
        data: &Path,
        log: &Path,
        cluster: &str,
    ) -> Result<Launch> {
        self.launch(
            nodes,
            index,
            data,
            log,
            cluster,
            self.java.archive_flags(&self.home),
        )
    }

    fn launch(
        &self,
        nodes: &[Node],
        index: usize,
        data: &Path,
        log: &Path,
        cluster: &str,
        archive_flags: Vec<String>,
    ) -> Result<Launch> {
        let node = &nodes[index];
        let storage = data.join("log");
        self.format(&storage, node.id, cluster)?;
        let settings = data.join("server.properties");
        files::write(&settings, &server_properties(nodes, node, &storage))?;
        let logging = data.join("log4j2.properties");
        files::write(&logging, LOG4J2)?;
        Ok(Launch::new(format!("kafka-{}", node.id), &self.java.program, log)
            .args(heap(nodes.len()))
            .args(["-XX:+UseG1GC", "-XX:-UsePerfData"])
            .args(archive_flags)
            .arg(format!("-Dlog4j2.configurationFile=file:{}", logging.display()))
            .args([
                "-cp".to_owned(),
                class_path(&self.home.join("libs"))?,
                "kafka.Kafka".to_owned(),
            ])
            .arg(&settings)
            .probe(Probe::Kafka {
                port: node.port,
                node: node.id,
                brokers: 1,
                authority: node.tls.as_ref().map(Certificates::authority),
            }))
    }

    /// As the storage tool does, without the second it takes.
    fn format(&self, storage: &Path, node: i32, cluster: &str) -> Result<()> {
        let meta = storage.join("meta.properties");
        if meta.is_file() {
            return Ok(());
        }
        files::create_dir(storage)?;
        files::copy_file(&self.home.join(BOOTSTRAP), &storage.join(BOOTSTRAP))?;
        let directory = new_cluster_id();
        files::write(
            &meta,
            &format!("version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={directory}\n"),
        )
    }

    fn write_bootstrap(&self, partial: &Path, jars: &Path) -> Result<()> {
        let storage = partial.join("storage");
        let settings = partial.join("server.properties");
        let node = Node {
            id: 1,
            port: 1,
            controller_port: 2,
            doors: vec![],
            tls: None,
        };
        let nodes = [node];
        files::write(&settings, &server_properties(&nodes, &nodes[0], &storage))?;
        let mut tool = Command::new(&self.java.program);
        tool.args(["-cp", &class_path(jars)?, "kafka.tools.StorageTool", "format"]);
        tool.args(["--cluster-id", &new_cluster_id(), "--config"])
            .arg(&settings);
        files::run(&mut tool)?;
        files::rename(&storage.join(BOOTSTRAP), &partial.join(BOOTSTRAP))?;
        files::remove_dir(&storage)
    }
}

/// The id in the storage of a node, if it is formatted.
pub(crate) fn cluster_id(data: &Path) -> Option<String> {
    let meta = files::read(&data.join("log/meta.properties")).ok()?;
    meta.lines()
        .find_map(|line| line.strip_prefix("cluster.id="))
        .map(str::to_owned)
}

/// 128 random bits in URL-safe base64, as Kafka writes its ids. The last digit holds two bits only, and an id must not
/// look like a command-line flag.
pub(crate) fn new_cluster_id() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let digits = (0..21).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())]));
    digits.chain(['A']).collect()
}

fn class_path(jars: &Path) -> Result<String> {
    let mut paths = files::list(jars)?;
    paths.sort(); // the class archive is valid for one order only
    Ok(paths
        .iter()
        .map(|path| path.to_string_lossy())
        .collect::<Vec<_>>()
        .join(":"))
}

/// Several share a machine.
fn heap(nodes: usize) -> [&'static str; 2] {
    if nodes == 1 {
        ["-Xms256m", "-Xmx768m"]
    } else {
        ["-Xms128m", "-Xmx512m"]
    }
}

fn server_properties(nodes: &[Node], node: &Node, storage: &Path) -> String {
    let Node {
        id,
        port,
        controller_port,
        doors,
        tls,
    } = node;
    let protocol = if tls.is_some() { "SSL" } else { "PLAINTEXT" };
    let tls = tls.as_ref().map(tls_properties).unwrap_or_default();
    let each_door = |text: &dyn Fn(usize, &Door) -> String| -> String {
        doors
            .iter()
            .enumerate()
            .map(|(index, door)| text(index, door))
            .collect()
    };
    let listeners = each_door(&|index, door| format!(",DOOR{index}://127.0.0.1:{}", door.port));
    let advertised = each_door(&|index, door| format!(",DOOR{index}://{}", door.advertised));
    let protocols = each_door(&|index, _| format!(",DOOR{index}:{protocol}"));
    let voters: Vec<String> = nodes
        .iter()
        .map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller_port))
        .collect();
    let (replicas, in_sync) = if nodes.len() >= 3 { (3, 2) } else { (1, 1) };
    let voters = voters.join(",");
    let storage = storage.display();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listeners}
advertised.listeners=CLIENT://127.0.0.1:{port}{advertised}
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENT:{protocol},CONTROLLER:{protocol}{protocols}
{tls}log.dirs={storage}

# Topics are made with their settings, or not at all; a leader holds all that was acknowledged.
auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}

# A killed node is missed, and its transactions end, in seconds.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0

# Small, for a quick start.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=1
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
"
    )
}

/// One certificate for all listeners, and for what a node shows to others.
fn tls_properties(certificates: &Certificates) -> String {
    format!(
        "ssl.keystore.type=PEM
ssl.keystore.location={}
ssl.truststore.type=PEM
ssl.truststore.location={}
",
        certificates.key_store().display(),
        certificates.authority().display(),
    )
}

/// To standard output, which is the server's log.
const LOG4J2: &str = "status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_keep_three_copies() {
        let nodes = [1, 2, 3].map(|id| Node {
            id,
            port: 10,
            controller_port: 20,
            doors: vec![],
            tls: None,
        });
        let settings = server_properties(&nodes, &nodes[1], Path::new("/data"));
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:20,2@127.0.0.1:20,3@127.0.0.1:20",
            "default.replication.factor=3",
            "min.insync.replicas=2",
        ] {
            assert!(settings.lines().any(|it| it == line), "{line}");
        }
    }

    #[test]
    fn a_door_is_advertised_elsewhere() {
        let door = Door {
            port: 30,
            advertised: SocketAddrV4::new([10, 0, 0, 1].into(), 40),
        };
        let node = Node {
            id: 1,
            port: 10,
            controller_port: 20,
            doors: vec![door],
            tls: None,
        };
        let settings = server_properties(std::slice::from_ref(&node), &node, Path::new("/data"));
        for line in [
            "listeners=CLIENT://127.0.0.1:10,CONTROLLER://127.0.0.1:20,DOOR0://127.0.0.1:30",
            "advertised.listeners=CLIENT://127.0.0.1:10,DOOR0://10.0.0.1:40",
        ] {
            assert!(settings.lines().any(|it| it == line), "{line}");
        }
    }
}
