//! How much memory each service takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tests::World;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_millis(500);
/// Above what a service takes with a small log, unoptimised and while it hashes passwords.
pub const MEMORY_LIMIT_MIB: u64 = 600;

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
