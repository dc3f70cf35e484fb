//! How much memory each service takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tests::World;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_millis(500);
/// A command service keeps what it hashed passwords in: up to three times 19 MiB in each arena of the allocator, of
/// which there are eight a core. Everything else is a tenth of that with a log as small as a campaign's.
pub fn memory_limit_mib() -> u64 {
    const ARENA: u64 = 64;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    200 + 8 * ARENA * u64::try_from(cores).unwrap_or(u64::MAX)
}

/// Peak of each service in MiB, until `stop`.
pub async fn memory(world: Arc<World>, mut stop: watch::Receiver<bool>) -> BTreeMap<String, u64> {
    let mut peaks = BTreeMap::new();
    loop {
        for server in world.rolecall.all() {
            let now = server.pid().and_then(resident_mib).unwrap_or(0);
            let peak = peaks.entry(server.name().to_owned()).or_insert(0);
            *peak = now.max(*peak);
        }
        if tokio::time::timeout(EVERY, stop.wait_for(|stop| *stop))
            .await
            .is_ok()
        {
            return peaks;
        }
    }
}

fn resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
