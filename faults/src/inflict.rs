//! Doing a fault and undoing it.

mod brokers;
mod databases;
mod redis;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use local_stack::Server;
use serde::Serialize;
use tokio::sync::Mutex as Turn;
use tokio::time::sleep_until;

use crate::disk::SmallDisk;
use crate::network::{Instance, Target};
use crate::plan::{Fault, Part, Planned};
use crate::proxy::Mode;
use crate::stage::Stage;

/// A fault that was there, and its healing.
#[derive(Clone, Debug, Serialize)]
pub struct Inflicted {
    pub fault: Fault,
    #[serde(skip)]
    pub from: Instant,
    #[serde(skip)]
    pub to: Instant,
    /// Since the campaign began.
    pub began: Duration,
    pub healed: Duration,
    /// What kept it from being done.
    pub trouble: Option<String>,
}

/// The plan under way.
pub struct Inflicting {
    stage: Arc<Stage>,
    turns: BTreeMap<Part, Turn<()>>,
    open: Mutex<Vec<Fault>>,
    done: Mutex<Vec<Inflicted>>,
}

impl Inflicting {
    pub fn new(stage: Arc<Stage>, planned: &[Planned]) -> Self {
        let turns = planned.iter().map(|it| (it.fault.part(), Turn::new(())));
        Self {
            stage,
            turns: turns.collect(),
            open: Mutex::default(),
            done: Mutex::default(),
        }
    }

    /// Goes through the plan; where healing takes longer than planned, what comes next waits.
    pub async fn run(&self, planned: &[Planned], begun: Instant) {
        let places = tokio::sync::Semaphore::new(2);
        let faults = planned.iter().map(async |planned| {
            sleep_until((begun + planned.at).into()).await;
            let _place = places.acquire().await;
            let turn = self.turns.get(&planned.fault.part()).map(Turn::lock);
            let _turn = match turn {
                Some(turn) => Some(turn.await),
                None => None,
            };
            self.one(*planned, begun).await;
        });
        futures::future::join_all(faults).await;
    }

    async fn one(&self, planned: Planned, begun: Instant) {
        let fault = planned.fault;
        lock(&self.open).push(fault);
        let from = Instant::now();
        let outcome = self.stage.inflict(fault, planned.lasts).await;
        let to = Instant::now();
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|it| *it == fault) {
            open.remove(at);
        }
        lock(&self.done).push(Inflicted {
            fault,
            from,
            to,
            began: from - begun,
            healed: to - begun,
            trouble: outcome.err().map(|error| format!("{error:#}")),
        });
    }

    pub fn open(&self) -> Vec<Fault> {
        lock(&self.open).clone()
    }

    pub fn done(&self) -> Vec<Inflicted> {
        lock(&self.done).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// Breaks it, waits, and heals it.
    async fn inflict(&self, fault: Fault, lasts: Duration) -> Result<()> {
        let while_it_lasts = || tokio::time::sleep(lasts);
        match fault {
            Fault::Kill(it) => down(self.server(it), true, lasts).await,
            Fault::Restart(it) => down(self.server(it), false, Duration::ZERO).await,
            Fault::Pause(it) => frozen(self.server(it), lasts).await,
            Fault::Clock(it, seconds) => self.shift_clock(it, seconds, lasts).await,
            Fault::Kafka(it, mode) => {
                let chosen = |target| matches!(target, Target::Broker(_));
                self.net(it, chosen, mode, lasts).await;
                Ok(())
            }
            Fault::Broker(it, index, mode) => {
                let chosen = |target| target == Target::Broker(index);
                self.net(it, chosen, mode, lasts).await;
                Ok(())
            }
            Fault::Cluster(it, index, mode) => {
                let chosen = |target| target == Target::Cluster(index);
                self.net(it, chosen, mode, lasts).await;
                Ok(())
            }
            Fault::Registry(it, mode) => {
                self.net(it, |target| target == Target::Registry, mode, lasts)
                    .await;
                Ok(())
            }
            Fault::Redis(it, mode) => {
                self.net(it, |target| target == Target::Redis, mode, lasts).await;
                Ok(())
            }
            Fault::Peers(index, mode) => {
                self.network.set_peers(index, mode);
                while_it_lasts().await;
                self.network.set_peers(index, Mode::Pass);
                Ok(())
            }
            Fault::CutOff(it, lost) => {
                self.map.cut_off(it, lost)?;
                while_it_lasts().await;
                self.map.join(it, lost)
            }
            Fault::KillBroker(_)
            | Fault::PauseBroker(_)
            | Fault::RestartBroker(_)
            | Fault::KillLeader(_)
            | Fault::KillAllBrokers
            | Fault::FillBroker(_) => self.break_brokers(fault, lasts).await,
            Fault::StopCluster(_)
            | Fault::KillCluster(_)
            | Fault::PauseCluster(_)
            | Fault::FillCluster(_)
            | Fault::SetBackCluster(_) => self.break_cluster(fault, lasts).await,
            Fault::StopRegistry => down(self.world.stack.registry(), false, lasts).await,
            Fault::KillRedis => down(self.world.stack.redis(), true, lasts).await,
            Fault::WipeRedis => redis::wipe(&self.world.stack.redis_url()).await,
            Fault::LyingRedis => redis::lie(&self.world.stack.redis_url()).await,
        }
    }

    async fn net(&self, instance: Instance, chosen: impl Fn(Target) -> bool, mode: Mode, lasts: Duration) {
        self.network.set(instance, &chosen, mode);
        tokio::time::sleep(lasts).await;
        self.network.set(instance, &chosen, Mode::Pass);
    }

    async fn shift_clock(&self, instance: Instance, seconds: i64, lasts: Duration) -> Result<()> {
        let Some(library) = &self.faketime else {
            anyhow::bail!("libfaketime is not there");
        };
        let server = self.server(instance);
        let env = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME", format!("{seconds:+}s")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        server
            .start_with(&env.map(|(name, value)| (name.to_owned(), value)))
            .await?;
        // Time to come up, and then to be wrong for a while.
        tokio::time::sleep(lasts + Duration::from_secs(4)).await;
        server.kill().await?;
        start(server).await
    }
}

/// Killed or stopped, and started again without waiting for it to be ready: another fault may keep
/// it from that.
async fn down(server: &Server, is_killed: bool, lasts: Duration) -> Result<()> {
    if is_killed {
        server.kill().await?;
    } else {
        server.stop().await?;
    }
    tokio::time::sleep(lasts).await;
    start(server).await
}

async fn start(server: &Server) -> Result<()> {
    server
        .start_with(&[])
        .await
        .with_context(|| format!("starting {}", server.name()))
}

async fn filled(disk: &SmallDisk, server: &Server, lasts: Duration) -> Result<()> {
    disk.fill()?;
    tokio::time::sleep(lasts).await;
    disk.free()?;
    // It has ended by itself, or serves without its disk.
    server.kill().await?;
    start(server).await
}

async fn frozen(server: &Server, lasts: Duration) -> Result<()> {
    server.pause()?;
    tokio::time::sleep(lasts).await;
    server.resume()?;
    Ok(())
}
