//! How much memory each service takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use local_rolecall::Service;
use tests::World;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_millis(500);
/// What a service may take with a log as small as a campaign's: about twice what was ever seen. A command service
/// hashes a password a core at a time.
fn memory_limit_mib(service: Service) -> u64 {
    const HASHING: u64 = 19;
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    match service {
        Service::Command => 160 + HASHING * u64::try_from(cores).unwrap_or(u64::MAX),
        Service::Query | Service::Projector => 100,
    }
}

/// Peak of each service in MiB, by its name.
pub type Peaks = BTreeMap<String, u64>;

/// Those that took too much.
pub fn too_large(world: &World, peaks: &Peaks) -> Vec<String> {
    let kinds = Service::ALL.into_iter();
    let servers = kinds.flat_map(|kind| world.rolecall.servers(kind).map(move |it| (kind, it.name())));
    let large = servers.filter_map(|(kind, name)| {
        let (peak, limit) = (*peaks.get(name)?, memory_limit_mib(kind));
        (peak > limit).then(|| format!("{name} takes {peak} MiB, and may take {limit}"))
    });
    large.collect()
}

/// Watches until `stop`.
pub async fn memory(world: Arc<World>, mut stop: watch::Receiver<bool>) -> Peaks {
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

/// What this process takes now.
pub fn resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
