//! One campaign from beginning to end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use tests::World;

use crate::Settings;
use crate::client::Actor;
use crate::inflict::{Inflicted, Inflicting};
use crate::plan::plan;
use crate::reckoning::reckon;
use crate::record::Calls;
use crate::report::{Report, Totals};
use crate::shared::Shared;
use crate::stage::Stage;
use crate::watch::{self, Peaks};

const PROGRESS: Duration = Duration::from_secs(10);
/// How many commands must be acknowledged once everything is whole again, and how soon.
const AFTERWARDS: u64 = 20;
const SOON: Duration = Duration::from_secs(90);

/// Runs it. `Err` means that it could not be run; what went wrong with Rolecall is in the totals.
pub async fn run(settings: Settings) -> Result<Totals> {
    println!("faults with seed {}: {settings:?}", settings.seed);
    let started = Instant::now();
    let stage = Arc::new(Stage::build(&settings).await?);
    for skipped in &stage.skipped {
        println!("skipped: {skipped}");
    }
    let shared = Arc::new(Shared::prepare(Arc::clone(&stage.world)).await);
    println!("started in {:.1} s", started.elapsed().as_secs_f64());
    let (calls, mut inflicted, memory) = play(&settings, &stage, &shared).await?;
    inflicted.sort_by_key(|it| it.began);
    for (fault, why) in inflicted
        .iter()
        .filter_map(|it| Some((it.fault, it.trouble.as_ref()?)))
    {
        println!("not done: {fault:?}: {why}");
    }
    println!("reckoning up");
    let reckoning = Instant::now();
    let violations = all_that_is_wrong(&stage.world, &calls, &inflicted, &memory).await;
    println!("reckoned up in {:.1} s", reckoning.elapsed().as_secs_f64());
    println!("most memory in MiB: {memory:?}");
    let report = Report {
        settings: &settings,
        planned: &planned_of(&settings, &stage),
        inflicted: &inflicted,
        calls: &calls,
        violations: &violations,
        memory: &memory,
    };
    let totals = report.totals();
    if !violations.is_empty() {
        let folder = report.keep(&stage.world)?;
        println!(
            "{} violations; what is needed is in {}",
            violations.len(),
            folder.display()
        );
        violations.iter().take(20).for_each(|it| println!("  {it}"));
    }
    drop(shared);
    end(stage).await?;
    println!("{:.1} s in all", started.elapsed().as_secs_f64());
    println!("{totals}");
    Ok(totals)
}

fn planned_of(settings: &Settings, stage: &Stage) -> Vec<crate::plan::Planned> {
    if settings.without_faults {
        return Vec::new();
    }
    plan(settings.seed, &stage.shape(), settings.length, &settings.only)
}

type Played = (Calls, Vec<Inflicted>, Peaks);

/// The clients call while things break, and a while longer.
async fn play(settings: &Settings, stage: &Arc<Stage>, shared: &Arc<Shared>) -> Result<Played> {
    let planned = planned_of(settings, stage);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let memory = tokio::spawn(watch::memory(Arc::clone(&stage.world), stopped));
    let actors: Vec<_> = (0..settings.clients)
        .map(|number| {
            let actor = Actor::new(number, settings, Arc::clone(shared));
            tokio::spawn(actor.run())
        })
        .collect();
    let begun = Instant::now();
    let inflicting = Inflicting::new(Arc::clone(stage), &planned);
    tokio::select! {
        () = async {
            inflicting.run(&planned, begun).await;
            tokio::time::sleep_until((begun + settings.length).into()).await;
        } => {}
        () = tell(shared, &inflicting, begun) => {}
    }
    println!("{:>5} s  healing", begun.elapsed().as_secs());
    let mut calls = Calls::default();
    if let Err(error) = stage.heal().await {
        calls.violations.push(format!("it does not heal: {error:#}"));
    }
    println!("{:>5} s  healed", begun.elapsed().as_secs());
    if !serves_again(shared).await {
        calls
            .violations
            .push("commands are not acknowledged any more".to_owned());
    }
    shared.stop();
    for actor in actors {
        match actor.await {
            Ok(own) => calls.merge(own),
            Err(error) => calls.violations.push(format!("a client ended: {error}")),
        }
    }
    stop.send_replace(true);
    let memory = memory.await.context("watching the memory")?;
    Ok((calls, inflicting.done(), memory))
}

async fn tell(shared: &Shared, inflicting: &Inflicting, begun: Instant) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        let counts = &shared.counts;
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "{:>5} s  {} commands, {} acknowledged, {} unknown, {} checks; {} faults done, now {:?}",
            begun.elapsed().as_secs(),
            of(&counts.commands),
            of(&counts.acknowledged),
            of(&counts.unknown),
            of(&counts.checks),
            inflicting.done().len(),
            inflicting.open()
        );
    }
}

async fn serves_again(shared: &Shared) -> bool {
    let count = || shared.counts.acknowledged.load(Ordering::Relaxed);
    let (wanted, deadline) = (count() + AFTERWARDS, Instant::now() + SOON);
    while count() < wanted {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    true
}

async fn all_that_is_wrong(
    world: &Arc<World>,
    calls: &Calls,
    inflicted: &[Inflicted],
    memory: &Peaks,
) -> Vec<String> {
    let mut wrong = match caught("the log is read", world.history()).await {
        Ok(history) => {
            let started = Instant::now();
            let found = reckon(calls, &history, inflicted, world.ledgers());
            let (events, took) = (history.events.len(), started.elapsed().as_secs_f64());
            let own = watch::resident_mib(std::process::id()).unwrap_or(0);
            println!("{took:>7.1} s  {events} events are compared with all calls, in {own} MiB");
            found
        }
        Err(message) => vec![format!("the log cannot be read: {message}")],
    };
    wrong.extend(watch::too_large(world, memory));
    wrong.extend(caught("the chain is verified", world.verify()).await.err());
    let rebuilt = caught("each shard is rebuilt", world.rebuild_is_equal()).await;
    wrong.extend(rebuilt.err());
    wrong
}

/// What is wrong there is said by a panic.
async fn caught<T>(what: &str, step: impl Future<Output = T>) -> Result<T, String> {
    let started = Instant::now();
    let outcome = AssertUnwindSafe(step).catch_unwind().await;
    println!("{:>7.1} s  {what}", started.elapsed().as_secs_f64());
    outcome.map_err(|panic| said(&*panic))
}

/// A panic's message.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// Stops everything, so that no child and no mount is left.
async fn end(stage: Arc<Stage>) -> Result<()> {
    let stage = Arc::into_inner(stage).context("the stage is still in use")?;
    let Stage {
        world,
        network,
        map,
        broker_disk,
        cluster_disk,
        ..
    } = stage;
    let world = Arc::into_inner(world).context("the world is still in use")?;
    world.shut_down().await;
    drop((network, map, broker_disk, cluster_disk));
    Ok(())
}
