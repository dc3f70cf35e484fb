//! Which faults come when: all of it follows from the seed.

use std::collections::BTreeSet;
use std::time::Duration;

use local_rolecall::Service;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::namespaces::Lost;
use crate::network::Instance;
use crate::proxy::Mode;

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Fault {
    Kill(Instance),
    Pause(Instance),
    /// As an operator would.
    Restart(Instance),
    /// Its clock runs, but is off by so many seconds.
    Clock(Instance, i64),
    KillBroker(usize),
    PauseBroker(usize),
    RestartBroker(usize),
    /// Whoever leads this ledger's users partition at that moment is killed.
    KillLeader(usize),
    KillAllBrokers,
    /// Its disk has no room left.
    FillBroker(usize),
    /// Between one service and all brokers.
    Kafka(Instance, Mode),
    /// Between one service and one broker.
    Broker(Instance, usize, Mode),
    /// Between one service and one PostgreSQL cluster.
    Cluster(Instance, usize, Mode),
    Registry(Instance, Mode),
    Redis(Instance, Mode),
    /// Between the other command services and this one.
    Peers(usize, Mode),
    /// Between one service, in a network namespace of its own, and everything else, clients included.
    CutOff(Instance, Lost),
    StopCluster(usize),
    KillCluster(usize),
    PauseCluster(usize),
    /// Its disk has no room left.
    FillCluster(usize),
    /// It is restored from a copy that was made when the fault began.
    SetBackCluster(usize),
    StopRegistry,
    KillRedis,
    WipeRedis,
    /// Random values under the keys that are there.
    LyingRedis,
}

/// What two faults must not break at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Brokers,
    Service(Instance),
    Cluster(usize),
    Registry,
    Redis,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Planned {
    pub at: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

/// What there is to break.
#[derive(Clone, Debug)]
pub struct Shape {
    pub instances: Vec<Instance>,
    pub brokers: usize,
    pub clusters: usize,
    pub ledgers: usize,
    pub can_shift_clocks: bool,
    /// The broker whose disk can be filled.
    pub small_disk: Option<usize>,
    /// The cluster whose disk can be filled.
    pub small_cluster: Option<usize>,
    /// Those that can be cut off from everything.
    pub in_namespaces: Vec<Instance>,
}

impl Fault {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Pause(_) => "pause",
            Self::Restart(_) => "restart",
            Self::Clock(..) => "clock",
            Self::KillBroker(_) => "kill-broker",
            Self::PauseBroker(_) => "pause-broker",
            Self::RestartBroker(_) => "restart-broker",
            Self::KillLeader(_) => "kill-leader",
            Self::KillAllBrokers => "kill-all-brokers",
            Self::FillBroker(_) => "fill-broker",
            Self::Kafka(..) => "net-kafka",
            Self::Broker(..) => "net-broker",
            Self::Cluster(..) => "net-postgres",
            Self::Registry(..) => "net-registry",
            Self::Redis(..) => "net-redis",
            Self::Peers(..) => "net-peers",
            Self::CutOff(..) => "cut-off",
            Self::FillCluster(_) => "fill-postgres",
            Self::StopCluster(_) => "stop-postgres",
            Self::KillCluster(_) => "kill-postgres",
            Self::PauseCluster(_) => "pause-postgres",
            Self::SetBackCluster(_) => "set-back-postgres",
            Self::StopRegistry => "stop-registry",
            Self::KillRedis => "kill-redis",
            Self::WipeRedis => "wipe-redis",
            Self::LyingRedis => "lying-redis",
        }
    }

    pub fn part(self) -> Part {
        match self {
            Self::Kill(it) | Self::Pause(it) | Self::Restart(it) | Self::Clock(it, _) => Part::Service(it),
            Self::Kafka(it, _) | Self::Broker(it, ..) | Self::Cluster(it, ..) => Part::Service(it),
            Self::Registry(it, _) | Self::Redis(it, _) | Self::CutOff(it, _) => Part::Service(it),
            Self::Peers(index, _) => Part::Service(Instance {
                service: Service::Command,
                index,
            }),
            Self::KillBroker(_)
            | Self::PauseBroker(_)
            | Self::RestartBroker(_)
            | Self::KillLeader(_)
            | Self::KillAllBrokers
            | Self::FillBroker(_) => Part::Brokers,
            Self::StopCluster(it)
            | Self::KillCluster(it)
            | Self::PauseCluster(it)
            | Self::FillCluster(it)
            | Self::SetBackCluster(it) => Part::Cluster(it),
            Self::StopRegistry => Part::Registry,
            Self::KillRedis | Self::WipeRedis | Self::LyingRedis => Part::Redis,
        }
    }
}

/// The faults of a campaign, in the order in which they begin; at most two at a time, and never two
/// on one part.
pub fn plan(seed: u64, shape: &Shape, length: Duration, only: &[String]) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        let lasts = Duration::from_millis(random.random_range(300..8_000));
        let is_wanted = |it: &Fault| only.is_empty() || only.iter().any(|kind| kind == it.kind());
        let mut drawn = (0..10_000).map(|_| any_fault(&mut random, shape));
        let Some(fault) = drawn.find(is_wanted) else {
            break;
        };
        let open: Vec<&Planned> = planned.iter().filter(|it| it.at + it.lasts > at).collect();
        let clashes = open.iter().any(|it| it.fault.part() == fault.part());
        if open.len() < 2 && !clashes {
            planned.push(Planned { at, lasts, fault });
        }
        at += Duration::from_millis(random.random_range(100..5_000));
    }
    planned
}

/// The kinds of a plan.
pub fn kinds(planned: &[Planned]) -> BTreeSet<&'static str> {
    planned.iter().map(|it| it.fault.kind()).collect()
}

fn any_fault(random: &mut StdRng, shape: &Shape) -> Fault {
    match random.random_range(0..100) {
        0..40 => service_fault(random, shape),
        40..58 => network_fault(random, shape),
        58..80 => broker_fault(random, shape),
        80..93 => cluster_fault(random, shape),
        93..95 => Fault::StopRegistry,
        95..97 => Fault::WipeRedis,
        97..99 => Fault::LyingRedis,
        _ => Fault::KillRedis,
    }
}

fn service_fault(random: &mut StdRng, shape: &Shape) -> Fault {
    let instance = any_instance(random, shape);
    match random.random_range(0..10) {
        0..4 => Fault::Kill(instance),
        4..7 => Fault::Pause(instance),
        7 | 8 => Fault::Restart(instance),
        _ if shape.can_shift_clocks => {
            let seconds = [-90, -10, -2, 2, 10, 90].choose(random).copied();
            Fault::Clock(instance, seconds.unwrap_or(2))
        }
        _ => Fault::Restart(instance),
    }
}

fn network_fault(random: &mut StdRng, shape: &Shape) -> Fault {
    let (instance, mode) = (any_instance(random, shape), any_mode(random));
    match random.random_range(0..16) {
        0..4 => Fault::Kafka(instance, mode),
        4..7 => Fault::Broker(instance, random.random_range(0..shape.brokers), mode),
        7..9 if instance.service != Service::Command => {
            Fault::Cluster(instance, random.random_range(0..shape.clusters), mode)
        }
        7..10 => {
            let commands = shape.instances.iter().filter(|it| it.service == Service::Command);
            Fault::Peers(random.random_range(0..commands.count().max(1)), mode)
        }
        10 => Fault::Registry(instance, mode),
        11 => Fault::Redis(instance, mode),
        _ => match shape.in_namespaces.choose(random) {
            Some(inside) => Fault::CutOff(*inside, any_loss(random)),
            None => Fault::Kafka(instance, mode),
        },
    }
}

fn broker_fault(random: &mut StdRng, shape: &Shape) -> Fault {
    let broker = random.random_range(0..shape.brokers);
    let kind = random.random_range(0..12);
    match (kind, shape.small_disk) {
        (0..3, _) => Fault::KillBroker(broker),
        (3..6, _) => Fault::PauseBroker(broker),
        (6, _) => Fault::RestartBroker(broker),
        (7..9, _) => Fault::KillLeader(random.random_range(0..shape.ledgers)),
        (9, _) => Fault::KillAllBrokers,
        (_, Some(broker)) => Fault::FillBroker(broker),
        (_, None) => Fault::KillBroker(broker),
    }
}

fn cluster_fault(random: &mut StdRng, shape: &Shape) -> Fault {
    let cluster = random.random_range(0..shape.clusters);
    match (random.random_range(0..6), shape.small_cluster) {
        (0, _) => Fault::StopCluster(cluster),
        (1, _) => Fault::KillCluster(cluster),
        (2, _) => Fault::PauseCluster(cluster),
        (3, Some(cluster)) => Fault::FillCluster(cluster),
        _ => Fault::SetBackCluster(cluster),
    }
}

/// Command services are hit as often as the two others together.
fn any_instance(random: &mut StdRng, shape: &Shape) -> Instance {
    let weight = |it: &&Instance| if it.service == Service::Command { 2 } else { 1 };
    let all: Vec<&Instance> = shape.instances.iter().collect();
    match all.choose_weighted(random, weight) {
        Ok(chosen) => **chosen,
        Err(_) => Instance {
            service: Service::Command,
            index: 0,
        },
    }
}

fn any_loss(random: &mut StdRng) -> Lost {
    match random.random_range(0..4) {
        0 => Lost::ToIt,
        1 => Lost::FromIt,
        _ => Lost::All,
    }
}

fn any_mode(random: &mut StdRng) -> Mode {
    match random.random_range(0..5) {
        0 => Mode::Delay {
            millis: random.random_range(5..1_500),
        },
        1 => Mode::Cut,
        2 => Mode::DropAnswers,
        _ => Mode::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let of = |service, count| (0..count).map(move |index| Instance { service, index });
        Shape {
            instances: of(Service::Command, 3)
                .chain(of(Service::Query, 2))
                .chain(of(Service::Projector, 2))
                .collect(),
            brokers: 3,
            clusters: 2,
            ledgers: 16,
            can_shift_clocks: true,
            small_disk: Some(2),
            small_cluster: Some(1),
            in_namespaces: vec![Instance {
                service: Service::Command,
                index: 2,
            }],
        }
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        let plan_of = |seed| format!("{:?}", plan(seed, &shape(), Duration::from_secs(600), &[]));
        assert_eq!(plan_of(1), plan_of(1));
        assert_ne!(plan_of(1), plan_of(2));
    }

    #[test]
    fn never_more_than_two_at_a_time_and_never_two_on_one_part() {
        for seed in 0..50 {
            let planned = plan(seed, &shape(), Duration::from_secs(600), &[]);
            for (number, one) in planned.iter().enumerate() {
                let open = planned[..number].iter().filter(|it| it.at + it.lasts > one.at);
                let open: Vec<_> = open.collect();
                assert!(open.len() < 2);
                assert!(open.iter().all(|it| it.fault.part() != one.fault.part()));
            }
        }
    }

    #[test]
    fn an_hour_has_every_kind() {
        let planned = plan(1, &shape(), Duration::from_secs(3_600), &[]);
        assert_eq!(kinds(&planned).len(), 26);
    }
}
