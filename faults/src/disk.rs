//! Disks that can be full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use local_stack::Stack;

use crate::namespaces::has_ended;

/// Folders of campaigns; their process id follows.
pub const FOLDER: &str = "rolecall-faults-";

/// What campaigns left that were killed: it takes memory. Their logs stay.
pub fn unmount_leftovers() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    paths.filter(|path| is_left(path)).try_for_each(unmount)
}

fn is_left(path: &str) -> bool {
    let folders = path.split('/').filter_map(|name| name.strip_prefix(FOLDER));
    let mut pids = folders.filter_map(|rest| rest.split('-').next()?.parse().ok());
    pids.any(has_ended)
}

/// A file system in memory that can be made as small as what it holds.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    pub fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        mount(&["-t", "tmpfs", "-o", "size=8g", "tmpfs"], path)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Moves the data of a cluster here, and leaves a link in its place.
    pub async fn take(&self, stack: &Stack, cluster: usize) -> Result<()> {
        let server = stack.postgres_cluster(cluster);
        let data = std::fs::canonicalize(stack.postgres_data(cluster))?;
        let here = self.path.join("data");
        server.stop().await?;
        let copied = Command::new("cp").arg("-a").args([&data, &here]).status();
        anyhow::ensure!(copied.context("running cp")?.success(), "cp fails");
        std::fs::remove_dir_all(&data)?;
        std::os::unix::fs::symlink(&here, &data)?;
        server.restart().await?;
        Ok(())
    }

    pub fn fill(&self) -> Result<()> {
        let output = Command::new("df")
            .args(["--output=used", "-B1"])
            .arg(&self.path)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let used: u64 = text.lines().last().unwrap_or_default().trim().parse()?;
        mount(
            &["-o", &format!("remount,size={}", used.max(4_096)), "tmpfs"],
            &self.path,
        )
    }

    pub fn free(&self) -> Result<()> {
        mount(&["-o", "remount,size=8g", "tmpfs"], &self.path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path) {
            eprintln!("{error:#}");
        }
    }
}

fn unmount(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let status = Command::new("umount").arg("--lazy").arg(path).status()?;
    anyhow::ensure!(status.success(), "{} stays mounted", path.display());
    Ok(())
}

fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(path).output()?;
    if !output.status.success() {
        bail!("mount: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_campaigns_mounted_is_left() {
        let own = std::process::id();
        assert!(is_left("/tmp/rolecall-faults-4000000000-aBc/small-disk"));
        for other in [
            &format!("/tmp/rolecall-faults-{own}-aBc/small-disk"),
            "/tmp/rolecall-faults-seed-7-aBc",
            "/proc",
        ] {
            assert!(!is_left(other), "{other}");
        }
    }
}
