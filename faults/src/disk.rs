//! Disks that can be full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use local_stack::Stack;

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
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new("mount").args(arguments).arg(path).output()?;
    if !output.status.success() {
        bail!("mount: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
