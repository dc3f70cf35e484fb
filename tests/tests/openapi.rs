//! The services do what their OpenAPI documents say, as a foreign tool reads them: Schemathesis makes requests
//! from the documents, valid ones and others. No answer is a 5xx, and none has a status, media type, header or
//! body that the document does not name. Each run makes the same requests; another `SEED` makes others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use tests::{Suite, World, scenarios};
use tokio::process::Command;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,response_headers_conformance";

/// What fails once fails again, and what passed before does not fail by chance.
const SEED: &str = "20260101";

/// Who calls, and how lines of JSON are written.
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/hooks.py");

fn main() -> ExitCode {
    let scenarios = scenarios![
        the_command_service_does_what_its_document_says,
        the_query_service_does_what_its_document_says,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 2,
    }
    .main()
}

async fn the_command_service_does_what_its_document_says(world: Arc<World>) {
    conforms(&world, &world.rolecall.command_url()).await;
    some_calls_were_good(&world).await;
}

/// Calls that nobody could make if the hooks were not heeded.
const HOOKED: [&str; 4] = [
    "/v1/imports",
    "/v1/users/{id}/deactivate",
    "/v1/users/{id}/sessions",
    "/v1/sessions/{id}",
];

async fn some_calls_were_good(world: &World) {
    let metrics = world.metrics(&world.rolecall.command_url()).await.unwrap();
    for route in HOOKED {
        let of_route = format!("route=\"{route}\"");
        let mut lines = metrics.lines();
        let good = lines.any(|line| line.contains(&of_route) && line.contains("status=\"2xx\""));
        assert!(good, "no call of {route} was answered 2xx");
    }
}

async fn the_query_service_does_what_its_document_says(world: Arc<World>) {
    conforms(&world, &world.rolecall.query_url()).await;
}

async fn conforms(world: &World, url: &str) {
    let seed = std::env::var("SEED").unwrap_or_else(|_| SEED.to_owned());
    println!("        SEED={seed}");
    // Somebody who may do everything, and whom no request that was made up can know.
    let caller = world.person("tester").await;
    let granted = world.admin.grant(caller.id, "administrator").await;
    caller.query("/v1/roles", &granted).await.expect(200);
    let authority = world.rolecall.certificates().unwrap().authority();
    let output = Command::new(schemathesis())
        .arg("run")
        .arg(format!("{url}/openapi.json"))
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        // One worker: two threads that parse Python at once fail in CPython 3.11 now and then (its issue 106905).
        .args(["--max-examples", "12", "--workers", "1", "--seed", &seed])
        .args([
            "--request-timeout",
            "30",
            "--warnings",
            "off",
            "--continue-on-failure",
        ])
        .arg("--tls-verify")
        .arg(&authority)
        .env("SCHEMATHESIS_HOOKS", HOOKS)
        .env("REQUESTS_CA_BUNDLE", &authority)
        .env("ROLECALL_COMMAND_URL", world.rolecall.command_url())
        .env("ADMINISTRATOR_TOKEN", &caller.access_token)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "SEED={seed}\n{said}");
    // It did ask: a document that it could not read has no operations.
    assert!(said.contains("Tested:"), "SEED={seed}\n{said}");
}

/// Where `.ci/setup` puts it.
fn schemathesis() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let program = cache.join("rolecall/schemathesis/bin/schemathesis");
    assert!(
        program.exists(),
        "{} is missing: run just setup",
        program.display()
    );
    program
}
