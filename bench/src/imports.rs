//! Users imported a second through `POST /v1/imports`, each measure over a log and databases of its own: by the command
//! service alone, and while projector and query service follow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_rolecall::LocalRolecall;
use local_stack::Stack;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection as _};

use crate::client::{Connection, request_of};
use crate::process;
use crate::report::{Row, Section};
use crate::stats::count;
use crate::world::{ENVIRONMENT, address, databases, sign_in};

/// Users in one request, and requests at once, as `rolecall-import` sends them.
const CHUNK: usize = 5_000;
const AT_ONCE: usize = 2;
const GOAL: f64 = 20_000.0;
/// Records in the log of each user: five events and a data key.
const EVENTS: f64 = 5.0;
/// Checked by its form alone: importing hashes nothing.
const HASH: &str = "$2b$12$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG";
const LOOK: Duration = Duration::from_millis(200);

/// What imports for how long.
struct Measured {
    took: Duration,
    /// Until rows and snapshots of all users were in the databases.
    settled: Duration,
    /// Of the command service while it imported, and of the whole machine.
    cpu: Duration,
    machine: Duration,
    memory: f64,
}

pub async fn run(stack: &Stack, users: usize) -> Result<Section> {
    let alone = measure(stack, users, "import-alone", 0).await?;
    let followed = measure(stack, users, "import", 1).await?;
    let rate = |took: Duration| users as f64 / took.as_secs_f64();
    let each = |time: Duration| format!("{:.0} us", time.as_secs_f64() * 1e6 / users as f64);
    let all = count(users as f64);
    let mut rows = Vec::new();
    for (how, measured) in [
        ("nothing beside it", alone),
        ("projector and query service beside it", followed),
    ] {
        let (own, settled) = (rate(measured.took), rate(measured.settled));
        rows.extend([
            Row::new(format!("users imported/s, {all} users, {how}"), count(own))
                .goal(format!(">= {}", count(GOAL)), own >= GOAL),
            Row::new("events/s of them", count(own * EVENTS)),
            Row::new(
                "users/s until all rows and snapshots are in the databases too",
                count(settled),
            ),
            Row::new("processor time a user: command service, whole machine", {
                format!("{}, {}", each(measured.cpu), each(measured.machine))
            }),
            Row::new(
                "resident memory of the command service after",
                format!("{:.0} MB", measured.memory),
            ),
        ]);
    }
    Ok(Section { name: "import", rows })
}

async fn measure(stack: &Stack, users: usize, prefix: &str, followers: usize) -> Result<Measured> {
    let shards = databases(stack, &prefix.replace('-', "_"), stack.shard_dsns().len()).await?;
    let mut builder = LocalRolecall::builder()
        .topic_prefix(prefix)
        .queries(followers)
        .projectors(followers)
        .env("ROLECALL_SHARDS", shards.join(","));
    for (name, value) in ENVIRONMENT {
        builder = builder.env(name, value);
    }
    let services = builder.start(stack).await?;
    let command = address(&services.command_url())?;
    let authorization = sign_in(command, services.admin_password()).await?;
    let pid = services.command().pid().context("the command service is gone")?;
    let chunks = chunks(users, &authorization);
    let (began, cpu, machine) = (Instant::now(), process::cpu(pid)?, process::machine_cpu()?);
    let senders = (0..AT_ONCE).map(async |first| -> Result<()> {
        let mut connection = Connection::open(command).await?;
        for (size, chunk) in chunks.iter().skip(first).step_by(AT_ONCE) {
            let answer = send(&mut connection, chunk).await?;
            ensure!(answer == *size, "{answer} of {size} users were imported");
        }
        Ok(())
    });
    futures::future::try_join_all(senders).await?;
    let took = began.elapsed();
    let (cpu, machine) = (process::cpu(pid)? - cpu, process::machine_cpu()? - machine);
    let memory = process::resident_mb(pid)?;
    settle(&shards, users, followers > 0).await?;
    let settled = began.elapsed();
    services.shutdown().await?;
    Ok(Measured {
        took,
        settled,
        cpu,
        machine,
        memory,
    })
}

/// Sends a chunk until the service has time for it; gives how many it imported.
async fn send(connection: &mut Connection, chunk: &[u8]) -> Result<usize> {
    loop {
        let answer = connection.send(chunk).await?;
        if answer.status == 429 {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let body = answer.expect(200)?.json()?;
        let imported = body["imported"].as_u64().context("no count in the answer")?;
        return Ok(usize::try_from(imported)?);
    }
}

/// How many users, and the request.
fn chunks(users: usize, authorization: &str) -> Vec<(usize, Vec<u8>)> {
    let headers = [
        ("authorization", authorization),
        ("content-type", "application/x-ndjson"),
    ];
    let numbers = (0..users.div_ceil(CHUNK)).map(|chunk| chunk * CHUNK..users.min((chunk + 1) * CHUNK));
    numbers
        .map(|numbers| {
            let (size, rows): (usize, String) = (numbers.len(), numbers.map(row).collect());
            (size, request_of("POST", "/v1/imports", &headers, &rows))
        })
        .collect()
}

/// Waits until the databases have all of them.
async fn settle(shards: &[String], users: usize, projected: bool) -> Result<()> {
    let wanted = i64::try_from(users)?;
    for (what, per_user) in [
        ("SELECT count(*) FROM aggregate_snapshots WHERE NOT pinned", 3),
        ("SELECT count(*) FROM users", i64::from(projected)),
        ("SELECT count(*) FROM security_audit_log", i64::from(projected)),
    ] {
        loop {
            let mut sum = 0;
            for dsn in shards {
                let mut shard = dsn.parse::<PgConnectOptions>()?.connect().await?;
                let found: i64 = sqlx::query_scalar(what).fetch_one(&mut shard).await.unwrap_or(0);
                sum += found;
                shard.close().await?;
            }
            if sum >= wanted * per_user {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

fn row(number: usize) -> String {
    format!(
        "{{\"username\":\"import-{number:07}\",\"email\":\"import-{number:07}@example.org\",\"email_verified\":true,\"password_hash\":\"{HASH}\"}}\n"
    )
}
