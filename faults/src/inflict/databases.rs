//! PostgreSQL clusters that stop, die, freeze or come back as they were a while ago.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::{down, filled, frozen, start};
use crate::plan::Fault;
use crate::stage::Stage;

impl Stage {
    pub(super) async fn break_cluster(&self, fault: Fault, lasts: Duration) -> Result<()> {
        let stack = &self.world.stack;
        match fault {
            Fault::StopCluster(index) => down(stack.postgres_cluster(index), false, lasts).await,
            Fault::KillCluster(index) => down(stack.postgres_cluster(index), true, lasts).await,
            Fault::PauseCluster(index) => frozen(stack.postgres_cluster(index), lasts).await,
            Fault::SetBackCluster(index) => self.set_back(index, lasts).await,
            Fault::FillCluster(index) => match &self.cluster_disk {
                Some(disk) => filled(disk, stack.postgres_cluster(index), lasts).await,
                None => bail!("no cluster has a small disk"),
            },
            other => bail!("{other:?} is no fault of a database"),
        }
    }

    /// Copies the stopped cluster's folder, lets it run on, and puts the copy in its place.
    async fn set_back(&self, index: usize, lasts: Duration) -> Result<()> {
        let server = self.world.stack.postgres_cluster(index);
        let data = std::fs::canonicalize(self.world.stack.postgres_data(index))?;
        let copy = data.with_extension("copy");
        server.stop().await?;
        let copied = run("cp", &[Path::new("-a"), &data, &copy]).await;
        start(server).await?;
        copied?;
        tokio::time::sleep(lasts).await;
        server.stop().await?;
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&copy, &data)?;
        start(server).await
    }
}

async fn run(program: &str, arguments: &[&Path]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let status = command
        .status()
        .await
        .with_context(|| format!("running {program}"))?;
    if !status.success() {
        bail!("{program} ends with {status}");
    }
    Ok(())
}
