//! The stack and the three services, started together.

use std::path::PathBuf;

use anyhow::{Context, Result};
use local_rolecall::LocalRolecall;
use local_stack::{Ports, Progress, Server, Stack};

/// Ports of command service, query service and projector, where they are free.
const PORTS: [u16; 3] = [8080, 8081, 8082];
/// Of the query service, for gRPC.
const GRPC_PORT: u16 = 8083;

pub struct Running {
    // First: dropping kills in this order.
    pub rolecall: LocalRolecall,
    pub stack: Stack,
}

impl Running {
    /// Keeps its data in the folder, or nowhere.
    pub async fn start(data: Option<PathBuf>) -> Result<Self> {
        let progress = Progress::shown();
        let mut builder = Stack::builder().progress(progress.clone()).ports(Ports {
            kafka: if_free(Ports::STANDARD.kafka),
            registry: if_free(Ports::STANDARD.registry),
            ..Ports::default()
        });
        if let Some(folder) = data {
            builder = builder.data_dir(folder);
        }
        let stack = builder.start().await?;
        let step = progress.step("rolecall", "starting the three services");
        let [command, query, projector] = PORTS.map(local_rolecall::port_or_free);
        let rolecall = LocalRolecall::builder()
            .ports(command?, query?, projector?)
            .grpc_port(local_rolecall::port_or_free(GRPC_PORT)?)
            .start(&stack)
            .await?;
        step.done("command service, query service and projector ready");
        Ok(Self { rolecall, stack })
    }

    /// The services, then what they rest on.
    pub async fn shutdown(self) -> Result<()> {
        self.rolecall.shutdown().await.context("stopping the services")?;
        self.stack.shutdown().await.context("stopping the stack")
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.stack.servers().chain(self.services())
    }

    pub fn services(&self) -> [&Server; 3] {
        [
            self.rolecall.command(),
            self.rolecall.query(),
            self.rolecall.projector(),
        ]
    }
}

/// A fixed port is only a convenience; whatever else runs on this machine keeps it.
fn if_free(port: Option<u16>) -> Option<u16> {
    port.filter(|port| local_rolecall::is_free(*port))
}
