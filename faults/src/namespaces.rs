//! Services in network namespaces of their own, each joined to the rest by a cable to one bridge. What a proxy cannot
//! do: a pulled cable closes nothing, answers nothing and loses what was on its way.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use local_rolecall::{Builder, Elsewhere};

use crate::network::Instance;

/// Of namespaces and bridges; the rest of a name is the campaign's process id, so that what a killed one left is known.
const PREFIX: &str = "rcf";
/// Within 198.18.0.0/15, which is for networks under test.
const NETWORKS: u32 = 512;
/// Nobody's: frames to it are dropped by whoever gets them.
const NOBODY: &str = "02:00:00:00:00:01";
/// Of a cable, inside.
const INNER: &str = "cable";

/// Which packets of a service are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Lost {
    /// The cable is pulled.
    All,
    /// It hears nothing, but what it sends arrives.
    ToIt,
    /// Nobody hears it, but it hears all.
    FromIt,
}

/// Where each service is.
pub struct Map {
    namespaces: Option<Namespaces>,
}

impl Map {
    pub fn new(namespaces: Option<Namespaces>) -> Self {
        Self { namespaces }
    }

    pub fn inside(&self) -> Vec<Instance> {
        let namespaces = self.namespaces.iter();
        namespaces.flat_map(|it| it.inside.keys().copied()).collect()
    }

    /// The address of this service.
    pub fn host(&self, instance: Instance) -> Ipv4Addr {
        let namespaces = self.namespaces.as_ref();
        let found = namespaces.and_then(|it| it.inside.get(&instance));
        found.map_or(Ipv4Addr::LOCALHOST, |it| it.address)
    }

    /// Where this service finds its proxies.
    pub fn gate(&self, instance: Instance) -> Ipv4Addr {
        match &self.namespaces {
            Some(namespaces) if namespaces.inside.contains_key(&instance) => namespaces.bridge_address,
            _ => Ipv4Addr::LOCALHOST,
        }
    }

    /// An address that all services reach.
    pub fn crossing(&self) -> Ipv4Addr {
        let namespaces = self.namespaces.as_ref();
        namespaces.map_or(Ipv4Addr::LOCALHOST, |it| it.bridge_address)
    }

    /// Starts in their namespaces those that have one.
    pub fn settle(&self, builder: Builder) -> Builder {
        let inside = self.namespaces.iter().flat_map(|it| &it.inside);
        inside.fold(builder, |builder, (instance, namespace)| {
            let enter = ["ip", "netns", "exec", &namespace.name].map(str::to_owned);
            let place = Elsewhere {
                enter: enter.into(),
                host: namespace.address,
            };
            builder.elsewhere(instance.service, instance.index, place)
        })
    }

    pub fn cut_off(&self, instance: Instance, lost: Lost) -> Result<()> {
        let (namespaces, it) = self.find(instance)?;
        let (bridge, gate) = (&namespaces.bridge, namespaces.bridge_address);
        match lost {
            Lost::All => ip(&format!("link set {} down", it.cable)),
            Lost::ToIt => ip(&format!(
                "neigh replace {} lladdr {NOBODY} dev {bridge} nud permanent",
                it.address
            )),
            Lost::FromIt => ip(&format!(
                "-n {} neigh replace {gate} lladdr {NOBODY} dev {INNER} nud permanent",
                it.name
            )),
        }
    }

    pub fn join(&self, instance: Instance, lost: Lost) -> Result<()> {
        let (namespaces, it) = self.find(instance)?;
        let (bridge, gate) = (&namespaces.bridge, namespaces.bridge_address);
        match lost {
            Lost::All => ip(&format!("link set {} up", it.cable)),
            Lost::ToIt => ip(&format!("neigh del {} dev {bridge}", it.address)),
            Lost::FromIt => ip(&format!("-n {} neigh del {gate} dev {INNER}", it.name)),
        }
    }

    fn find(&self, instance: Instance) -> Result<(&Namespaces, &Namespace)> {
        let namespaces = self.namespaces.as_ref().context("there are no namespaces")?;
        let namespace = namespaces.inside.get(&instance);
        Ok((namespaces, namespace.context("it has no namespace")?))
    }
}

/// Removed when dropped.
pub struct Namespaces {
    bridge: String,
    bridge_address: Ipv4Addr,
    inside: BTreeMap<Instance, Namespace>,
}

struct Namespace {
    name: String,
    /// Its end at the bridge.
    cable: String,
    address: Ipv4Addr,
}

impl Namespaces {
    pub fn around(instances: &[Instance]) -> Result<Self> {
        remove_leftovers()?;
        let network = free_network()?;
        let pid = std::process::id();
        let address = |host: u32| Ipv4Addr::from_bits(network + host);
        let mut made = Self {
            bridge: format!("{PREFIX}{pid}"),
            bridge_address: address(1),
            inside: BTreeMap::new(),
        };
        let bridge = &made.bridge;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", made.bridge_address))?;
        ip(&format!("link set {bridge} up"))?;
        for (instance, number) in instances.iter().zip(0_u32..) {
            let namespace = Namespace {
                name: format!("{PREFIX}{pid}-{number}"),
                cable: format!("{PREFIX}{pid}c{number}"),
                address: address(number + 2),
            };
            namespace.make(&made.bridge)?;
            made.inside.insert(*instance, namespace);
        }
        Ok(made)
    }
}

impl Namespace {
    fn make(&self, bridge: &str) -> Result<()> {
        let Self { name, cable, address } = self;
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {cable} type veth peer name {INNER} netns {name}"
        ))?;
        ip(&format!("link set {cable} master {bridge} up"))?;
        ip(&format!("-n {name} addr add {address}/24 dev {INNER}"))?;
        ip(&format!("-n {name} link set {INNER} up"))?;
        ip(&format!("-n {name} link set lo up"))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        if let Err(error) = remove(std::process::id()) {
            eprintln!("a network namespace or bridge stays: {error:#}");
        }
    }
}

/// What campaigns left that were killed.
fn remove_leftovers() -> Result<()> {
    let mut pids: Vec<u32> = names().iter().filter_map(|it| pid_of(it)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter()
        .filter(|pid| has_ended(*pid))
        .try_for_each(remove)
}

pub fn has_ended(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// The cables go with their namespaces.
fn remove(pid: u32) -> Result<()> {
    for name in names().iter().filter(|it| pid_of(it) == Some(pid)) {
        if name.contains('-') {
            ip(&format!("netns del {name}"))?;
        } else {
            ip(&format!("link del {name}"))?;
        }
    }
    Ok(())
}

/// Of all campaigns' namespaces and bridges.
fn names() -> Vec<String> {
    let folders = ["/run/netns", "/sys/class/net"];
    let entries = folders.iter().filter_map(|it| std::fs::read_dir(it).ok());
    let names = entries.flatten().flatten().map(|it| it.file_name());
    let names = names.filter_map(|it| it.into_string().ok());
    names.filter(|it| pid_of(it).is_some()).collect()
}

/// Of a bridge `rcf7` or a namespace `rcf7-0`, but of no cable `rcf7c0`.
fn pid_of(name: &str) -> Option<u32> {
    let pid = name.strip_prefix(PREFIX)?.split('-').next()?;
    pid.parse().ok()
}

/// The first address of 256 that nobody has here.
fn free_network() -> Result<u32> {
    let taken = output("-4 -o addr show")?;
    let network = |number: u32| Ipv4Addr::new(198, 18, 0, 0).to_bits() + (number % NETWORKS) * 256;
    let is_free = |network: &u32| {
        let [a, b, c, _] = Ipv4Addr::from_bits(*network).octets();
        !taken.contains(&format!(" {a}.{b}.{c}."))
    };
    let mut all = (0..NETWORKS).map(|number| network(std::process::id().wrapping_add(number)));
    all.find(is_free).context("all networks are taken")
}

fn ip(arguments: &str) -> Result<()> {
    output(arguments).map(drop)
}

fn output(arguments: &str) -> Result<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.context("the program ip")?;
    if !output.status.success() {
        bail!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use local_rolecall::Service;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn names_carry_the_campaigns_process() {
        assert_eq!(pid_of("rcf71-0"), Some(71));
        assert_eq!(pid_of("rcf71"), Some(71));
        for other in ["rcf71c0", "eth0", "rcf", "another-71"] {
            assert_eq!(pid_of(other), None, "{other}");
        }
    }

    /// Sends a line and waits for it to come back.
    async fn call(stream: &mut TcpStream) -> u8 {
        stream.write_all(b"7\n").await.unwrap();
        answer(stream).await
    }

    async fn answer(stream: &mut TcpStream) -> u8 {
        let mut line = [0; 2];
        stream.read_exact(&mut line).await.unwrap();
        line[0]
    }

    #[tokio::test]
    async fn what_is_lost_is_sent_again_and_no_connection_breaks() {
        let instance = Instance {
            service: Service::Query,
            index: 0,
        };
        let namespaces = match Namespaces::around(&[instance]) {
            Ok(namespaces) => namespaces,
            Err(error) => return eprintln!("skipped: {error:#}"),
        };
        let name = namespaces.inside[&instance].name.clone();
        let map = Map::new(Some(namespaces));
        let listener = TcpListener::bind((map.gate(instance), 0)).await.unwrap();
        let echo = format!(
            "exec 3<>/dev/tcp/{}/{}; while read line <&3; do echo $line >&3; done",
            map.gate(instance),
            listener.local_addr().unwrap().port()
        );
        let mut inside = Command::new("ip")
            .args(["netns", "exec", &name, "bash", "-c", &echo])
            .spawn()
            .unwrap();
        let (mut stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), map.host(instance));
        assert_eq!(call(&mut stream).await, b'7');
        for lost in [Lost::All, Lost::ToIt, Lost::FromIt] {
            map.cut_off(instance, lost).unwrap();
            let waiting = timeout(Duration::from_millis(200), call(&mut stream));
            assert!(waiting.await.is_err(), "{lost:?}");
            map.join(instance, lost).unwrap();
            assert_eq!(answer(&mut stream).await, b'7', "{lost:?}");
        }
        drop(stream);
        inside.wait().unwrap();
        drop(map);
        assert!(names().iter().all(|it| pid_of(it) != Some(std::process::id())));
    }
}
