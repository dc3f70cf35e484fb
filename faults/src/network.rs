//! Everything a service speaks to, it reaches through proxies of its own: any service can be cut off
//! from any server while the others go on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use local_rolecall::{Builder, Service};
use local_stack::{Stack, free_port};

use crate::namespaces::Map;
use crate::proxy::{Mode, Proxy};

/// One running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Instance {
    #[serde(serialize_with = "service_name")]
    pub service: Service,
    pub index: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn service_name<S: serde::Serializer>(service: &Service, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(service.name())
}

/// What lies behind a proxy, as one service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Target {
    Broker(usize),
    Cluster(usize),
    Registry,
    Redis,
}

pub struct Network {
    links: BTreeMap<(Instance, Target), Proxy>,
    /// The address under which the other command services know each.
    advertised: Vec<Proxy>,
}

impl Network {
    /// The stack needs a door for each instance, at its gate.
    pub async fn between(instances: &[Instance], stack: &Stack, map: &Map) -> Result<Self> {
        let mut links = BTreeMap::new();
        for (number, instance) in instances.iter().enumerate() {
            for (index, door) in stack.kafka_doors(number).into_iter().enumerate() {
                let proxy = Proxy::start(door.advertised, here(door.port)).await?;
                links.insert((*instance, Target::Broker(index)), proxy);
            }
            let clusters = stack.postgres_ports().into_iter().enumerate();
            let clusters = clusters.map(|(index, port)| (Target::Cluster(index), port));
            let others = [
                (Target::Registry, port_of(&stack.registry_url())?),
                (Target::Redis, port_of(&stack.redis_url())?),
            ];
            for (target, port) in clusters.chain(others) {
                let gate = SocketAddrV4::new(map.gate(*instance), free_port()?);
                links.insert((*instance, target), Proxy::start(gate, here(port)).await?);
            }
        }
        let mut advertised = Vec::new();
        for instance in instances.iter().filter(|it| it.service == Service::Command) {
            let address = SocketAddrV4::new(map.crossing(), free_port()?);
            let target = SocketAddrV4::new(map.host(*instance), free_port()?);
            advertised.push(Proxy::start(address, target).await?);
        }
        Ok(Self { links, advertised })
    }

    /// Sends each instance through its own proxies.
    pub fn lead(&self, builder: Builder, instances: &[Instance], stack: &Stack) -> Builder {
        let doors = self.advertised.iter().enumerate();
        let builder = doors.fold(builder, |builder, (index, proxy)| {
            builder.port_of(Service::Command, index, proxy.target().port())
        });
        instances.iter().fold(builder, |builder, instance| {
            let own = |name: &str, value: String| (name.to_owned(), value);
            let mut env = vec![
                own("ROLECALL_KAFKA", self.kafka(*instance)),
                own(
                    "ROLECALL_SCHEMA_REGISTRY_URL",
                    self.moved(*instance, Target::Registry, &stack.registry_url()),
                ),
                own("ROLECALL_SHARDS", self.shards(*instance, stack)),
            ];
            if instance.service == Service::Command
                && let Some(proxy) = self.advertised.get(instance.index)
            {
                let url = format!("http://{}", proxy.address());
                env.push(own("ROLECALL_ADVERTISED_URL", url));
            }
            env.into_iter().fold(builder, |builder, (name, value)| {
                builder.env_of(instance.service, instance.index, name, value)
            })
        })
    }

    /// Of all links of the instance that `chosen` takes.
    pub fn set(&self, instance: Instance, chosen: impl Fn(Target) -> bool, mode: Mode) {
        for ((whose, target), proxy) in &self.links {
            if *whose == instance && chosen(*target) {
                proxy.set(mode);
            }
        }
    }

    /// Of what the other command services send to this one.
    pub fn set_peers(&self, index: usize, mode: Mode) {
        if let Some(proxy) = self.advertised.get(index) {
            proxy.set(mode);
        }
    }

    pub fn heal(&self) {
        for proxy in self.links.values().chain(&self.advertised) {
            proxy.set(Mode::Pass);
        }
    }

    fn kafka(&self, instance: Instance) -> String {
        let of_instance = self.links.iter().filter(|((whose, _), _)| *whose == instance);
        let brokers = of_instance.filter(|((_, target), _)| matches!(target, Target::Broker(_)));
        let addresses: Vec<String> = brokers.map(|(_, proxy)| proxy.address().to_string()).collect();
        addresses.join(",")
    }

    fn shards(&self, instance: Instance, stack: &Stack) -> String {
        let addresses: Vec<SocketAddrV4> = (0..stack.postgres_ports().len())
            .filter_map(|index| self.links.get(&(instance, Target::Cluster(index))))
            .map(Proxy::address)
            .collect();
        stack.shard_dsns_through(&addresses).join(",")
    }

    /// The same URL at the proxy's address.
    fn moved(&self, instance: Instance, target: Target, url: &str) -> String {
        match (self.links.get(&(instance, target)), port_of(url)) {
            (Some(proxy), Ok(port)) => url.replacen(&here(port).to_string(), &proxy.address().to_string(), 1),
            _ => url.to_owned(),
        }
    }
}

fn here(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn port_of(url: &str) -> Result<u16> {
    let authority = url.split("//").nth(1).unwrap_or(url).split('/').next();
    let port = authority.and_then(|it| it.rsplit(':').next()).unwrap_or_default();
    Ok(port.parse()?)
}
