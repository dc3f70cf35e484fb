//! Runs the scenarios of one file on one stack, so that a stack is started once and its children
//! really end: `main` owns it and shuts it down.

use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use local_rolecall::{Builder, LocalRolecall};

use crate::World;

tokio::task_local! {
    static RUNNING: &'static str;
}

const ALL: &str = "all";

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One test. Panicking is failing.
pub struct Scenario {
    name: &'static str,
    run: Box<dyn Fn(Arc<World>) -> Running + Send>,
}

impl Scenario {
    pub fn new<F>(name: &'static str, run: impl Fn(Arc<World>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            run: Box::new(move |world| Box::pin(run(world))),
        }
    }
}

/// The scenarios of one file. Understands the arguments that `cargo test` passes on: a part of a
/// name chooses scenarios.
pub struct Suite {
    pub scenarios: Vec<Scenario>,
    /// How many run at once. One where they break what the others need.
    pub at_once: usize,
    pub shards: usize,
}

impl Suite {
    /// On a stack with one of each service.
    pub fn main(self) -> ExitCode {
        self.main_with(|builder| builder)
    }

    /// As [`Self::main`], with services that are started otherwise.
    pub fn main_with(self, change: impl FnOnce(Builder) -> Builder) -> ExitCode {
        let (shards, builder) = (self.shards, change(LocalRolecall::builder()));
        self.main_on(World::start(shards, builder))
    }

    /// On a world of any shape.
    pub fn main_on(self, start: impl Future<Output = World>) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        // For nextest, which runs each test in a process of its own, all of them are one.
        if arguments.iter().any(|it| it == "--list") {
            if !arguments.iter().any(|it| it == "--ignored") {
                println!("{ALL}: test");
            }
            return ExitCode::SUCCESS;
        }
        let wanted: Vec<&String> = arguments
            .iter()
            .filter(|it| !it.starts_with('-') && *it != ALL)
            .collect();
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(*part));
        let chosen: Vec<Scenario> = self
            .scenarios
            .into_iter()
            .filter(|it| is_wanted(it.name))
            .collect();
        if chosen.is_empty() {
            println!("no scenario of that name here");
            return ExitCode::SUCCESS;
        }
        name_the_scenario_in_panics();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let failed = runtime.block_on(run(chosen, self.at_once, start));
        runtime.shutdown_background();
        if failed.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("\n{} failed:", failed.len());
        failed.iter().for_each(|name| println!("  {name}"));
        ExitCode::FAILURE
    }
}

async fn run(
    scenarios: Vec<Scenario>,
    at_once: usize,
    start: impl Future<Output = World>,
) -> Vec<&'static str> {
    let started = Instant::now();
    let world = Arc::new(start.await);
    println!("started in {:.1} s", started.elapsed().as_secs_f64());
    let runs = scenarios.into_iter().map(|scenario| {
        let future = RUNNING.scope(scenario.name, (scenario.run)(Arc::clone(&world)));
        async move {
            let started = Instant::now();
            // A task of its own catches the panic.
            let passed = tokio::spawn(future).await.is_ok();
            let word = if passed { "ok" } else { "FAILED" };
            println!(
                "{word:>6}  {} ({:.1} s)",
                scenario.name,
                started.elapsed().as_secs_f64()
            );
            (!passed).then_some(scenario.name)
        }
    });
    let failed: Vec<&str> = stream::iter(runs)
        .buffer_unordered(at_once)
        .filter_map(async |it| it)
        .collect()
        .await;
    if !failed.is_empty()
        && let Some(kept) = world.keep_logs()
    {
        println!("the services' logs are in {}", kept.display());
    }
    // The tasks that a failed scenario left behind are aborted, and end soon.
    let mut world = world;
    for _ in 0..100 {
        match Arc::try_unwrap(world) {
            Ok(alone) => {
                alone.shut_down().await;
                break;
            }
            Err(shared) => world = shared,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{:.1} s in all", started.elapsed().as_secs_f64());
    failed
}

fn name_the_scenario_in_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if RUNNING.try_with(|name| eprintln!("\nin {name}:")).is_err() {
            eprintln!();
        }
        usual(info);
    }));
}
