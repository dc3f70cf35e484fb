//! What the kernel says of a process.

use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks a second that /proc counts in: fixed by Linux's ABI.
const TICKS: f64 = 100.0;

/// Resident memory in megabytes (10^6 bytes).
pub fn resident_mb(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process' status")?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.context("no VmRSS")?.trim().parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Processor time used so far.
pub fn cpu(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process' times")?;
    times(&text)
}

/// Processor time that the compilers of a Java process used so far.
pub fn compiling(pid: u32) -> Result<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("reading a process' threads")?;
    let mut sum = Duration::ZERO;
    for thread in threads {
        // One that has ended meanwhile compiles no more.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        if text.contains("CompilerThre") {
            sum += times(&text)?;
        }
    }
    Ok(sum)
}

/// User and system time in a line of `stat`.
fn times(text: &str) -> Result<Duration> {
    // Behind the name, which may hold anything, they are the 12th and 13th field.
    let fields = text.rsplit_once(')').context("a process without a name")?.1;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<f64>().ok())
        .sum();
    Ok(Duration::from_secs_f64(ticks / TICKS))
}

/// Processor time that all processes of the machine used so far.
pub fn machine_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("reading the machine's times")?;
    let line = text.lines().next().context("no line of times")?;
    // User, nice, system, idle, waiting, interrupts.
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse::<f64>().ok())
        .collect();
    let busy: f64 = ticks
        .iter()
        .take(7)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, n)| n)
        .sum();
    Ok(Duration::from_secs_f64(busy / TICKS))
}
