//! Nothing is said in plain text, and nothing to a server that is not who it is meant to be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "tls/impostors.rs"]
mod impostors;
#[path = "tls/listening.rs"]
mod listening;
#[path = "tls/settings.rs"]
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use local_stack::Launch;
use schemas::Stream;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use tests::{Suite, World, registration, scenarios, unique};

const SERVICES: [&str; 3] = ["command-service", "query-service", "projector"];

fn main() -> ExitCode {
    let scenarios = scenarios![
        settings::a_service_without_a_certificate_does_not_start,
        settings::a_certificate_that_cannot_be_served_is_told_at_the_start,
        settings::plain_connections_are_refused_each_by_its_setting,
        settings::tools_send_no_password_to_a_plain_address,
        impostors::kafka_of_another_authority_is_told_nothing,
        impostors::a_registry_of_another_authority_is_told_nothing,
        impostors::a_shard_of_another_authority_is_told_nothing,
        listening::plain_http_is_answered_with_a_problem,
        listening::slow_handshakes_keep_nobody_out_and_end,
        listening::a_renewed_certificate_is_served_to_whoever_comes_then,
        the_servers_take_no_plain_connection,
        command_services_forward_to_each_other_by_tls,
    ];
    Suite {
        scenarios,
        at_once: 2,
        shards: 2,
    }
    .main_with(|builder| builder.commands(2))
}

/// A program as the world starts it, but for these variables.
fn launch(world: &World, program: &str, changed: &[(&str, String)]) -> Launch {
    let rolecall = &world.rolecall;
    let log = world.stack.log_of(&unique(program));
    Launch::new(program, rolecall.program(program), log)
        .envs(rolecall.environment().iter().map(|(name, value)| (name, value)))
        .envs(changed.iter().map(|(name, value)| (*name, value)))
        .trusting(rolecall.certificates())
}

async fn the_servers_take_no_plain_connection(world: Arc<World>) {
    let dsn = &world.stack.service_dsns()[0];
    let options: PgConnectOptions = dsn.parse().unwrap();
    let plain = options.username("rolecall_query").ssl_mode(PgSslMode::Disable);
    let refused = plain.connect().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("no encryption"), "{refused}");

    // Everybody who comes from a service comes by TLS; the tests use the socket.
    let mut shard = world.stack.shard_dsns()[0]
        .parse::<PgConnectOptions>()
        .unwrap()
        .connect()
        .await
        .unwrap();
    let (by_tls, others): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
         FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL",
    )
    .fetch_one(&mut shard)
    .await
    .unwrap();
    shard.close().await.unwrap();
    assert!(by_tls > 0 && others == 0, "{by_tls} by TLS, {others} not");

    let registry = world.stack.registry_url().replace("https://", "http://");
    assert!(reqwest::get(format!("{registry}/subjects")).await.is_err());
    let kafka = event_log::KafkaConfig::plain(world.stack.kafka_bootstrap(), "rolecall");
    let asked = tokio::task::spawn_blocking(move || event_log::identity::find_log(&kafka));
    assert!(asked.await.unwrap().is_err());
}

async fn command_services_forward_to_each_other_by_tls(world: Arc<World>) {
    let claims = world.claims();
    let own = world.ledgers();
    let mut owners: Vec<String> = Vec::new();
    tests::until(
        std::time::Duration::from_secs(60),
        "both own something",
        || async {
            let found = (0..own).filter_map(|ledger| claims.owner(Stream::Users, ledger));
            let found: std::collections::BTreeSet<String> = found.collect();
            found.len() == 2
        },
    )
    .await;
    owners.extend((0..own).filter_map(|ledger| claims.owner(Stream::Users, ledger)));
    assert!(
        owners.iter().all(|owner| owner.starts_with("https://")),
        "{owners:?}"
    );
    // Whoever is asked, half of the ledgers are the other's.
    for index in 0..2 {
        let url = world.rolecall.url(local_rolecall::Service::Command, index);
        let client = world.client.commanding(&[&url]);
        for _ in 0..8 {
            let body = registration(&unique("forwarded"));
            client
                .command("POST", "/v1/users")
                .json(&body)
                .send()
                .await
                .expect(201);
        }
    }
}
