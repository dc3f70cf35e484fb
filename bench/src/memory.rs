//! Resident memory: each service over a log with nobody in it, and with many people.

use std::time::Duration;

use anyhow::{Context, Result};
use local_rolecall::LocalRolecall;
use local_stack::{Server, Stack};

use crate::process::resident_mb;
use crate::report::Row;
use crate::stats::count;
use crate::world::{World, databases};

const PREFIX: &str = "idle";
const REST: Duration = Duration::from_secs(5);
const IDLE_GOAL: f64 = 60.0;
const QUERY_GOAL: f64 = 150.0;

/// Services that have just started and do nothing.
pub async fn idle(stack: &Stack) -> Result<Vec<Row>> {
    let shards = databases(stack, "bench_idle", stack.shard_dsns().len()).await?;
    let services = LocalRolecall::builder()
        .topic_prefix(PREFIX)
        .env("ROLECALL_SHARDS", shards.join(","))
        .start(stack)
        .await?;
    tokio::time::sleep(REST).await;
    let mut rows = Vec::new();
    for server in [services.command(), services.query(), services.projector()] {
        let megabytes = of(server)?;
        rows.push(
            Row::new(
                format!("memory of an idle {}", spaced(server)),
                format!("{megabytes:.0} MB"),
            )
            .goal("< 60 MB", megabytes < IDLE_GOAL),
        );
    }
    services.shutdown().await?;
    Ok(rows)
}

/// Services that have read a log with many people, before the other benches.
pub fn with_people(world: &World) -> Result<Vec<Row>> {
    let people = count(world.people.users.len() as f64);
    let services = &world.services;
    let query = of(services.query())?;
    let mut rows = vec![
        Row::new(
            format!("memory of the query service, {people} users"),
            format!("{query:.0} MB"),
        )
        .goal("< 150 MB", query < QUERY_GOAL),
    ];
    for server in [services.command(), services.projector()] {
        rows.push(Row::new(
            format!("memory of the {}, {people} users", spaced(server)),
            format!("{:.0} MB", of(server)?),
        ));
    }
    Ok(rows)
}

/// As the text around the tables has it.
fn spaced(server: &Server) -> String {
    server.name().replace('-', " ")
}

fn of(server: &Server) -> Result<f64> {
    resident_mb(
        server
            .pid()
            .with_context(|| format!("{} is gone", server.name()))?,
    )
}
