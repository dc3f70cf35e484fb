//! Letting the broker come to its speed: Kafka's machine compiles what it runs, on the cores that are measured.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;
use crate::world::World;

/// Of one core: no more than this goes into compiling in the end.
const QUIET: f64 = 0.06;
const LONGEST: Duration = Duration::from_secs(180);

/// Repeats a load, some seconds of it at a time, until hardly anything is compiled during it.
pub async fn until_compiled(world: &World, mut load: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        let (before, since) = (process::compiling(world.broker)?, Instant::now());
        load().await?;
        let compiled = process::compiling(world.broker)?.saturating_sub(before);
        if compiled.as_secs_f64() < QUIET * since.elapsed().as_secs_f64() {
            return Ok(());
        }
    }
    println!("the broker still compiles after {} s", LONGEST.as_secs());
    Ok(())
}
