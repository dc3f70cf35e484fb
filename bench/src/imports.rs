//! Users imported a second: through `POST /v1/imports`, over a log of their own, with no projector beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_rolecall::LocalRolecall;
use local_stack::Stack;

use crate::client::{Connection, request_of};
use crate::process;
use crate::report::{Row, Section};
use crate::stats::count;
use crate::world::{ENVIRONMENT, address, sign_in};

const PREFIX: &str = "import";
/// Users in one request, and requests at once, as `rolecall-import` sends them.
const CHUNK: usize = 5_000;
const AT_ONCE: usize = 2;
const GOAL: f64 = 20_000.0;
/// Checked by its form alone: importing hashes nothing.
const HASH: &str = "$2b$12$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG";

pub async fn run(stack: &Stack, users: usize) -> Result<Section> {
    let mut builder = LocalRolecall::builder()
        .topic_prefix(PREFIX)
        .queries(0)
        .projectors(0);
    for (name, value) in ENVIRONMENT {
        builder = builder.env(name, value);
    }
    let services = builder.start(stack).await?;
    let command = address(&services.command_url())?;
    let authorization = sign_in(command, services.admin_password()).await?;
    let pid = services.command().pid().context("the command service is gone")?;
    let chunks: Vec<Vec<u8>> = (0..users.div_ceil(CHUNK))
        .map(|chunk| {
            let rows: String = (chunk * CHUNK..users.min((chunk + 1) * CHUNK)).map(row).collect();
            let headers = [
                ("authorization", authorization.as_str()),
                ("content-type", "application/x-ndjson"),
            ];
            request_of("POST", "/v1/imports", &headers, &rows)
        })
        .collect();
    let (began, before) = (Instant::now(), process::cpu(pid)?);
    let senders = (0..AT_ONCE).map(async |first| -> Result<()> {
        let mut connection = Connection::open(command).await?;
        for chunk in chunks.iter().skip(first).step_by(AT_ONCE) {
            let answer = connection.send(chunk).await?.expect(200)?;
            ensure!(answer.text("rejected").is_err(), "rows were rejected");
        }
        Ok(())
    });
    futures::future::try_join_all(senders).await?;
    let (took, cpu) = (began.elapsed(), process::cpu(pid)? - before);
    let memory = process::resident_mb(pid)?;
    services.shutdown().await?;
    let rate = users as f64 / took.as_secs_f64();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / users as f64;
    let rows = vec![
        Row::new(
            format!("users imported/s, {} users", count(users as f64)),
            count(rate),
        )
        .goal(format!(">= {}", count(GOAL)), rate >= GOAL),
        Row::new("events/s of them (five a user)", count(rate * 5.0)),
        Row::new(
            "processor time of the command service a user",
            format!("{:.0} us", each(cpu)),
        ),
        Row::new(
            "resident memory of the command service after",
            format!("{memory:.0} MB"),
        ),
    ];
    Ok(Section { name: "import", rows })
}

fn row(number: usize) -> String {
    format!(
        "{{\"username\":\"import-{number:07}\",\"email\":\"import-{number:07}@example.org\",\"email_verified\":true,\"password_hash\":\"{HASH}\"}}\n"
    )
}
