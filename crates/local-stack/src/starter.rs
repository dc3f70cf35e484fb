//! Starts each kind of server, all at the same time.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use futures::future::try_join_all;

use crate::home::Home;
use crate::install::Programs;
use crate::kafka::{self, Door, Node};
use crate::postgres::Cluster;
use crate::{Certificates, Error, Launch, Ports, Progress, Result, Server, ports, redis, registry};

/// Tries per server, when another program takes the port that was just chosen.
const TRIES: usize = 3;

/// A running server, and what clients need to find it.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pub server: Server,
    pub address: T,
    pub took: Duration,
}

pub(crate) struct Starter<'a> {
    pub programs: &'a Programs,
    pub home: &'a Home,
    pub ports: Ports,
    pub progress: &'a Progress,
    pub tls: Option<&'a Certificates>,
}

impl Starter<'_> {
    pub async fn kafka(&self, count: usize, doors: &[Ipv4Addr]) -> Result<Vec<Part<Node>>> {
        let Some(kafka) = self.programs.kafka.clone() else {
            return Ok(vec![]);
        };
        let names: Vec<String> = (1..=count).map(|id| format!("kafka-{id}")).collect();
        let cluster = names
            .first()
            .and_then(|name| kafka::cluster_id(&self.home.data(name)));
        let cluster = cluster.unwrap_or_else(kafka::new_cluster_id);
        self.retry(self.ports.kafka.is_some(), async || {
            let nodes: Vec<Node> = (0..count)
                .map(|index| self.kafka_node(index, doors))
                .collect::<Result<_>>()?;
            let starts = nodes.iter().enumerate().map(async |(index, node)| {
                let (data, log) = (self.home.data(&names[index]), self.home.log(&names[index]));
                let kafka = kafka.clone();
                let (all, cluster) = (nodes.clone(), cluster.clone());
                let prepare = move || kafka.prepare(&all, index, &data, &log, &cluster);
                self.start(&names[index], prepare, node.clone()).await
            });
            try_join_all(starts).await
        })
        .await
    }

    pub async fn registry(&self) -> Result<Option<Part<String>>> {
        let Some(registry) = self.programs.registry.clone() else {
            return Ok(None);
        };
        let (data, log) = (self.home.data("registry"), self.home.log("registry"));
        self.retry(self.ports.registry.is_some(), async || {
            let port = ports::fixed_or_free(self.ports.registry, 0)?;
            let (registry, data, log) = (registry.clone(), data.clone(), log.clone());
            let tls = self.tls.cloned();
            self.start(
                "registry",
                move || registry.prepare(&data, &log, port, tls.as_ref()),
                registry::url(port, self.tls),
            )
            .await
        })
        .await
        .map(Some)
    }

    pub async fn postgres(&self, count: usize, shards: usize) -> Result<Vec<Part<Cluster>>> {
        try_join_all((0..count).map(|index| self.postgres_cluster(index, count, shards))).await
    }

    async fn postgres_cluster(&self, index: usize, count: usize, shards: usize) -> Result<Part<Cluster>> {
        let name = if count == 1 {
            "postgres".to_owned()
        } else {
            format!("postgres-{}", index + 1)
        };
        let Some(postgres) = self.programs.postgres.clone() else {
            return Err(Error::NotRunning(name));
        };
        let (data, log, socket_dir) = (
            self.home.data(&name),
            self.home.log(&name),
            self.home.sockets(&name)?,
        );
        self.retry(self.ports.postgres.is_some(), async || {
            let port = ports::fixed_or_free(self.ports.postgres, index)?;
            let cluster = Cluster {
                name: name.clone(),
                port,
                socket_dir: socket_dir.clone(),
                tls: self.tls.cloned(),
            };
            let (postgres, data, log, this) = (postgres.clone(), data.clone(), log.clone(), cluster.clone());
            self.start(
                &name,
                move || postgres.prepare(&this, shards, &data, &log),
                cluster,
            )
            .await
        })
        .await
    }

    pub async fn replica(&self, of: &Cluster, name: &str) -> Result<Part<Cluster>> {
        let Some(postgres) = self.programs.postgres.clone() else {
            return Err(Error::NotRunning(name.to_owned()));
        };
        let (data, log, socket_dir) = (
            self.home.data(name),
            self.home.log(name),
            self.home.sockets(name)?,
        );
        self.retry(false, async || {
            let cluster = Cluster {
                name: name.to_owned(),
                port: ports::free()?,
                socket_dir: socket_dir.clone(),
                tls: self.tls.cloned(),
            };
            let (postgres, data, log) = (postgres.clone(), data.clone(), log.clone());
            let (of, this) = (of.clone(), cluster.clone());
            let prepare = move || postgres.prepare_replica(&of, &this, &data, &log);
            self.start(name, prepare, cluster).await
        })
        .await
    }

    pub async fn redis(&self) -> Result<Option<Part<u16>>> {
        let Some(program) = self.programs.redis.clone() else {
            return Ok(None);
        };
        let (data, log) = (self.home.data("redis"), self.home.log("redis"));
        self.retry(self.ports.redis.is_some(), async || {
            let port = ports::fixed_or_free(self.ports.redis, 0)?;
            let (program, data, log) = (program.clone(), data.clone(), log.clone());
            self.start("redis", move || redis::launch(&program, &data, &log, port), port)
                .await
        })
        .await
        .map(Some)
    }

    fn kafka_node(&self, index: usize, doors: &[Ipv4Addr]) -> Result<Node> {
        let id = i32::try_from(index + 1).unwrap_or(i32::MAX);
        let door = |host: &Ipv4Addr| -> Result<Door> {
            Ok(Door {
                port: ports::free()?,
                advertised: SocketAddrV4::new(*host, ports::free()?),
            })
        };
        Ok(Node {
            id,
            port: ports::fixed_or_free(self.ports.kafka, index)?,
            controller_port: ports::free()?,
            doors: doors.iter().map(door).collect::<Result<_>>()?,
            tls: self.tls.cloned(),
        })
    }

    /// `prepare` touches many files, so it runs where it may block.
    async fn start<T>(
        &self,
        name: &str,
        prepare: impl FnOnce() -> Result<Launch> + Send + 'static,
        address: T,
    ) -> Result<Part<T>> {
        let step = self.progress.step(name, "starting");
        let launch = tokio::task::spawn_blocking(prepare).await??;
        let server = Server::start(launch).await?;
        let took = step.done("ready");
        Ok(Part {
            server,
            address,
            took,
        })
    }

    async fn retry<T>(&self, fixed_port: bool, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
        for _ in 1..TRIES {
            match attempt().await {
                Err(error) if error.is_port_collision() && !fixed_port => {
                    tracing::info!("Trying another port")
                }
                result => return result,
            }
        }
        attempt().await
    }
}
