//! The whole stack: what to start, where it is, and its end.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;

use crate::home::Home;
use crate::install::{self, Programs, Wanted};
use crate::kafka::{Door, Node};
use crate::postgres::{Cluster, database};
use crate::starter::{Part, Starter};
use crate::{Certificates, Error, Ports, Progress, Result, Server};

/// What to start; by default one Kafka node, the registry, one PostgreSQL cluster with 16 shards, and Redis, on free
/// ports, with data that is removed at the end.
#[derive(Debug, Clone)]
pub struct Builder {
    data_dir: Option<PathBuf>,
    cache_dir: PathBuf,
    kafka_nodes: usize,
    kafka_doors: Vec<Ipv4Addr>,
    postgres_clusters: usize,
    shards: usize,
    registry: bool,
    redis: bool,
    ports: Ports,
    progress: Progress,
    tls: bool,
}

impl Builder {
    /// Keeps the data here: a later start with the same folder goes on with it.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Where jars are kept for all stacks of this user.
    #[must_use]
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = dir.into();
        self
    }

    /// 0 for none, 1, or 3 with three copies of each partition. An existing data folder keeps its number.
    #[must_use]
    pub fn kafka_nodes(mut self, nodes: usize) -> Self {
        self.kafka_nodes = nodes;
        self
    }

    /// Listeners of each node besides the plain one, for clients that something stands between: each with the
    /// address at which they find that.
    #[must_use]
    pub fn kafka_doors(mut self, hosts: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        self.kafka_doors = hosts.into_iter().collect();
        self
    }

    /// 0 for none. With several, the shards are spread over them.
    #[must_use]
    pub fn postgres_clusters(mut self, clusters: usize) -> Self {
        self.postgres_clusters = clusters;
        self
    }

    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    #[must_use]
    pub fn registry(mut self, wanted: bool) -> Self {
        self.registry = wanted;
        self
    }

    #[must_use]
    pub fn redis(mut self, wanted: bool) -> Self {
        self.redis = wanted;
        self
    }

    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Has Kafka, the registry and PostgreSQL speak TLS, with certificates that are made for the stack, and nothing else by
    /// TCP. PostgreSQL's Unix socket stays as it is, and so does Redis, which no service uses.
    #[must_use]
    pub fn tls(mut self, wanted: bool) -> Self {
        self.tls = wanted;
        self
    }

    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Fetches what is missing, starts all servers at once and returns when each has answered.
    pub async fn start(self) -> Result<Stack> {
        self.check()?;
        let wanted = Wanted {
            kafka: self.kafka_nodes > 0,
            registry: self.registry,
            postgres: (self.postgres_clusters > 0).then_some(self.shards),
            redis: self.redis,
        };
        let programs = install::programs(&self.cache_dir, wanted, &self.progress).await?;
        let home = Home::open(self.data_dir.as_deref())?;
        home.check_shape(self.kafka_nodes, self.postgres_clusters, self.shards)?;
        let certificates = match self.tls {
            true => Some(Certificates::open(
                home.data("tls"),
                self.kafka_doors.iter().map(Ipv4Addr::to_string),
            )?),
            false => None,
        };
        let starter = Starter {
            programs: &programs,
            home: &home,
            ports: self.ports,
            progress: &self.progress,
            tls: certificates.as_ref(),
        };
        let (kafka, registry, postgres, redis) = tokio::try_join!(
            starter.kafka(self.kafka_nodes, &self.kafka_doors),
            starter.registry(),
            starter.postgres(self.postgres_clusters, self.shards),
            starter.redis(),
        )?;
        Ok(Stack {
            kafka,
            registry,
            postgres,
            redis,
            shards: self.shards,
            programs,
            certificates,
            replicas: AtomicUsize::new(0),
            home,
        })
    }

    fn check(&self) -> Result<()> {
        if ![0, 1, 3].contains(&self.kafka_nodes) {
            return Err(Error::Setting {
                what: "the number of Kafka nodes",
                allowed: "0, 1 or 3",
                value: self.kafka_nodes,
            });
        }
        if !(1..=256).contains(&self.shards) {
            return Err(Error::Setting {
                what: "the number of shards",
                allowed: "1 to 256",
                value: self.shards,
            });
        }
        Ok(())
    }
}

/// Running servers. Dropping it kills them; [`Stack::shutdown`] stops them first.
#[derive(Debug)]
pub struct Stack {
    kafka: Vec<Part<Node>>,
    registry: Option<Part<String>>,
    postgres: Vec<Part<Cluster>>,
    redis: Option<Part<u16>>,
    shards: usize,
    programs: Programs,
    certificates: Option<Certificates>,
    /// How many were started.
    replicas: AtomicUsize,
    /// Last: the folders go after the servers.
    home: Home,
}

impl Stack {
    pub fn builder() -> Builder {
        Builder {
            data_dir: None,
            cache_dir: install::default_cache(),
            kafka_nodes: 1,
            kafka_doors: vec![],
            postgres_clusters: 1,
            shards: 16,
            registry: true,
            redis: true,
            ports: Ports::default(),
            progress: Progress::default(),
            tls: false,
        }
    }

    /// What its servers speak TLS with; `None` where they speak plain text.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// `host:port` of each node, comma-separated.
    pub fn kafka_bootstrap(&self) -> String {
        let nodes: Vec<String> = self
            .kafka
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.address.port))
            .collect();
        nodes.join(",")
    }

    /// The same door of each node, in their order.
    pub fn kafka_doors(&self, door: usize) -> Vec<Door> {
        let of_node = |node: &Part<Node>| node.address.doors.get(door).copied();
        self.kafka.iter().filter_map(of_node).collect()
    }

    /// With the path of the Confluent-compatible API, and no slash at the end.
    ///
    /// # Panics
    /// If the stack was built without the registry.
    pub fn registry_url(&self) -> String {
        part(self.registry.as_ref(), "registry").address.clone()
    }

    /// # Panics
    /// If the stack was built without Redis.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", part(self.redis.as_ref(), "Redis").address)
    }

    /// One address per shard, through the Unix socket, as sqlx reads them; of the superuser, whom nothing is
    /// refused.
    pub fn shard_dsns(&self) -> Vec<String> {
        self.shard_dsns_of(crate::postgres::USER)
    }

    /// As [`Self::shard_dsns`], for one of the roles that `crates/read-model/roles.sql` makes.
    pub fn shard_dsns_of(&self, role: &str) -> Vec<String> {
        self.dsns(|cluster, shard| cluster.dsn(Some(role), shard))
    }

    /// For services: each connects as its own role, and by TLS where the stack has it.
    pub fn service_dsns(&self) -> Vec<String> {
        self.dsns(Cluster::service_dsn)
    }

    fn dsns(&self, dsn: impl Fn(&Cluster, usize) -> String) -> Vec<String> {
        let clusters = self.postgres.iter().cycle();
        clusters
            .take(if self.postgres.is_empty() { 0 } else { self.shards })
            .enumerate()
            .map(|(shard, cluster)| dsn(&cluster.address, shard))
            .collect()
    }

    /// TCP port of each PostgreSQL cluster.
    pub fn postgres_ports(&self) -> Vec<u16> {
        self.postgres.iter().map(|it| it.address.port).collect()
    }

    /// As [`Self::service_dsns`], but by TCP through these addresses, one for each cluster.
    pub fn shard_dsns_through(&self, addresses: &[SocketAddrV4]) -> Vec<String> {
        let shards = 0..if addresses.is_empty() { 0 } else { self.shards };
        let plain = if self.certificates.is_some() {
            ""
        } else {
            "?sslmode=disable"
        };
        let dsn = |(shard, address): (usize, &SocketAddrV4)| {
            format!("postgres://{address}/{}{plain}", database(shard))
        };
        shards.zip(addresses.iter().cycle()).map(dsn).collect()
    }

    pub(crate) async fn start_replica(&self, index: usize) -> Result<Part<Cluster>> {
        let of = &part(self.postgres.get(index), "PostgreSQL cluster").address;
        let number = self.replicas.fetch_add(1, Ordering::Relaxed) + 1;
        let starter = Starter {
            programs: &self.programs,
            home: &self.home,
            ports: Ports::default(),
            progress: &Progress::default(),
            tls: self.certificates.as_ref(),
        };
        starter
            .replica(of, &format!("{}-replica-{number}", of.name))
            .await
    }

    /// Where cluster `index` keeps its data.
    ///
    /// # Panics
    /// If there is no cluster `index`, counted from 0.
    pub fn postgres_data(&self, index: usize) -> PathBuf {
        self.home.data(self.postgres_cluster(index).name())
    }

    /// The addresses as variables, for an environment file.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("DATA_DIR", self.data_dir().display().to_string())];
        if let Some(certificates) = &self.certificates {
            variables.push(("CA_FILE", certificates.authority().display().to_string()));
        }
        if !self.kafka.is_empty() {
            variables.push(("KAFKA_BOOTSTRAP", self.kafka_bootstrap()));
        }
        if self.registry.is_some() {
            variables.push(("SCHEMA_REGISTRY_URL", self.registry_url()));
        }
        if !self.postgres.is_empty() {
            variables.push(("SHARD_DSNS", self.shard_dsns().join(",")));
            variables.push(("READER_DSNS", self.shard_dsns_of("rolecall_reader").join(",")));
        }
        if self.redis.is_some() {
            variables.push(("REDIS_URL", self.redis_url()));
        }
        variables
    }

    /// The only, or first, node.
    ///
    /// # Panics
    /// If the stack was built without Kafka.
    pub fn kafka(&self) -> &Server {
        self.kafka_node(0)
    }

    /// # Panics
    /// If there is no node `index`, counted from 0.
    pub fn kafka_node(&self, index: usize) -> &Server {
        &part(self.kafka.get(index), "Kafka node").server
    }

    /// # Panics
    /// If the stack was built without the registry.
    pub fn registry(&self) -> &Server {
        &part(self.registry.as_ref(), "registry").server
    }

    /// The only, or first, cluster.
    ///
    /// # Panics
    /// If the stack was built without PostgreSQL.
    pub fn postgres(&self) -> &Server {
        self.postgres_cluster(0)
    }

    /// Holds the shards `index`, `index + clusters`, and so on.
    ///
    /// # Panics
    /// If there is no cluster `index`, counted from 0.
    pub fn postgres_cluster(&self, index: usize) -> &Server {
        &part(self.postgres.get(index), "PostgreSQL cluster").server
    }

    /// # Panics
    /// If the stack was built without Redis.
    pub fn redis(&self) -> &Server {
        &part(self.redis.as_ref(), "Redis").server
    }

    /// All of them, in the order in which they may be stopped.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let rest = self
            .kafka
            .iter()
            .map(|it| &it.server)
            .chain(self.postgres.iter().map(|it| &it.server));
        let first = self
            .registry
            .iter()
            .map(|it| &it.server)
            .chain(self.redis.iter().map(|it| &it.server));
        first.chain(rest)
    }

    /// How long each server took until it answered.
    pub fn start_times(&self) -> Vec<(&str, Duration)> {
        let kafka = self.kafka.iter().map(|it| (it.server.name(), it.took));
        let postgres = self.postgres.iter().map(|it| (it.server.name(), it.took));
        let registry = self.registry.iter().map(|it| (it.server.name(), it.took));
        let redis = self.redis.iter().map(|it| (it.server.name(), it.took));
        kafka.chain(registry).chain(postgres).chain(redis).collect()
    }

    /// Data and, below `logs`, the output of each server. Room for more logs, too.
    pub fn data_dir(&self) -> &Path {
        self.home.path()
    }

    /// The log file for a process of this name.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.home.log(name)
    }

    /// Stops all servers, and removes the data unless its folder was given.
    pub async fn shutdown(self) -> Result<()> {
        join_all(self.servers().map(Server::stop))
            .await
            .into_iter()
            .collect()
    }
}

fn part<'a, T>(part: Option<&'a Part<T>>, name: &str) -> &'a Part<T> {
    match part {
        Some(part) => part,
        None => panic!("this stack was built without that {name}"),
    }
}
