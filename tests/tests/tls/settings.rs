//! What is refused at the start.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use local_stack::{CertificatePair, Certificates};
use tests::{World, unique};
use tokio::process::Command;

use crate::SERVICES;

const CERTIFICATE: [&str; 2] = ["ROLECALL_TLS_CERT_FILE", "ROLECALL_TLS_KEY_FILE"];

/// The line with which a program that must not start ends. What is changed to nothing is not set.
async fn refusal(world: &World, program: &str, changed: &[(&str, String)], arguments: &[&str]) -> String {
    let mut command = Command::new(world.rolecall.program(program));
    command
        .args(arguments)
        .env("ROLECALL_LISTEN", "127.0.0.1:0")
        .envs(
            world
                .rolecall
                .environment()
                .iter()
                .map(|(name, value)| (name, value)),
        );
    for (name, value) in changed {
        match value.is_empty() {
            true => command.env_remove(name),
            false => command.env(name, value),
        };
    }
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    let output = ended
        .unwrap_or_else(|_| panic!("{program} is not refused: {changed:?}"))
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{program}: {text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(program), "{program}: {text}");
    last.to_owned()
}

fn pair(pair: &CertificatePair) -> [(&'static str, String); 2] {
    let [certificate, key] = CERTIFICATE;
    [
        (certificate, pair.certificate.display().to_string()),
        (key, pair.key.display().to_string()),
    ]
}

pub async fn a_service_without_a_certificate_does_not_start(world: Arc<World>) {
    let none = CERTIFICATE.map(|name| (name, String::new()));
    for program in SERVICES {
        let line = refusal(&world, program, &none, &[]).await;
        for named in [
            CERTIFICATE[0],
            CERTIFICATE[1],
            "plain HTTP",
            "ROLECALL_PLAINTEXT=allowed",
        ] {
            assert!(line.contains(named), "{line}");
        }
    }
}

pub async fn a_certificate_that_cannot_be_served_is_told_at_the_start(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(folder.path(), [] as [&str; 0]).unwrap();
    let (one, other) = (
        certificates.issue("one").unwrap(),
        certificates.issue("other").unwrap(),
    );
    let mixed = CertificatePair {
        certificate: one.certificate.clone(),
        key: other.key,
    };
    let missing = CertificatePair {
        certificate: one.certificate,
        key: folder.path().join("missing.key"),
    };
    for program in SERVICES {
        let line = refusal(&world, program, &pair(&mixed), &[]).await;
        assert!(line.contains("does not belong to the certificate in"), "{line}");
        let line = refusal(&world, program, &pair(&missing), &[]).await;
        assert!(line.contains("missing.key"), "{line}");
        let ca = [("ROLECALL_CA_FILE", missing.key.display().to_string())];
        let line = refusal(&world, program, &ca, &[]).await;
        assert!(line.contains("missing.key"), "{line}");
    }
}

pub async fn plain_connections_are_refused_each_by_its_setting(world: Arc<World>) {
    let plain = |dsn: String| format!("{dsn}?sslmode=prefer");
    let shards: Vec<String> = world.stack.service_dsns().into_iter().map(plain).collect();
    for program in SERVICES {
        let kafka = [("ROLECALL_KAFKA_SECURITY", "plaintext".to_owned())];
        let line = refusal(&world, program, &kafka, &[]).await;
        assert!(line.contains("ROLECALL_KAFKA_SECURITY is plaintext"), "{line}");
        // One of them is enough, replica or not.
        for shards in [
            shards.join(","),
            format!("{} {}", world.stack.service_dsns()[0], shards[1]),
        ] {
            let line = refusal(&world, program, &[("ROLECALL_SHARDS", shards)], &[]).await;
            assert!(line.contains("less than verify-full"), "{line}");
        }
    }
    let registry = world.stack.registry_url().replace("https://", "http://");
    let line = refusal(
        &world,
        "command-service",
        &[("ROLECALL_SCHEMA_REGISTRY_URL", registry)],
        &[],
    )
    .await;
    assert!(
        line.contains("ROLECALL_SCHEMA_REGISTRY_URL is the plain address"),
        "{line}"
    );
}

pub async fn tools_send_no_password_to_a_plain_address(world: Arc<World>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.csv");
    std::fs::write(
        &file,
        format!("username,email\n{0},{0}@example.org\n", unique("plain")),
    )
    .unwrap();
    let plain = [
        (
            "ROLECALL_COMMAND_URL",
            world.rolecall.command_url().replace("https://", "http://"),
        ),
        ("ROLECALL_USERNAME", "admin".to_owned()),
        ("ROLECALL_PASSWORD_FILE", file.display().to_string()),
    ];
    let file = file.display().to_string();
    for (program, arguments) in [
        ("rolecall-import", vec![file.as_str()]),
        ("rolecall-shards", vec!["resume"]),
    ] {
        let line = refusal(&world, program, &plain, &arguments).await;
        assert!(
            line.contains("ROLECALL_COMMAND_URL is the plain address"),
            "{line}"
        );
    }
}
