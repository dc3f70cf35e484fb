//! One stack with the three services on it.

use std::path::PathBuf;
use std::process::Stdio;

use event_log::identity::{LogIdentity, await_log};
use event_log::{KafkaConfig, KafkaSecurity};
use local_rolecall::{ADMIN_USERNAME, LocalRolecall};
use local_stack::Stack;
use tokio::process::Command;
use transport::Trust;

use crate::client::{Client, http};
use crate::people::Person;

pub struct World {
    // The services go first.
    pub rolecall: LocalRolecall,
    pub stack: Stack,
    pub client: Client,
    pub admin: Person,
    pub identity: LogIdentity,
}

impl World {
    pub async fn start(shards: usize, builder: local_rolecall::Builder) -> Self {
        let stack = Stack::builder()
            .shards(shards)
            .tls(true)
            .start()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Self::on(stack, builder).await
    }

    /// The services, as many as `builder` says, on a stack of any shape.
    pub async fn on(stack: Stack, builder: local_rolecall::Builder) -> Self {
        let started = builder
            .programs(programs().await)
            // Quick tests sign in by the dozen from one core.
            .env("ROLECALL_HASHING_QUEUE", "1024")
            .env("ROLECALL_ATTEMPTS_PER_ACCOUNT", "100000")
            // And make one person do in a minute what others do in a day.
            .env("ROLECALL_REFRESHES_PER_SESSION", "100000")
            .env("ROLECALL_CHANGES_PER_ACCOUNT", "100000")
            .env("ROLECALL_TOKEN_TTL", "3600")
            // Ledgers are small here, and are to be saved all the same.
            .env("ROLECALL_ACCESS_SNAPSHOT_EVENTS", "10")
            .start(&stack)
            .await;
        let rolecall = started.unwrap_or_else(|error| panic!("{error}"));
        let client = Client::new(stack.certificates(), rolecall.command_url(), rolecall.query_url());
        let identity = await_log(&config(&rolecall, &stack)).await.unwrap();
        let admin = Person::log_in(&client, ADMIN_USERNAME, rolecall.admin_password()).await;
        Self {
            rolecall,
            stack,
            client,
            admin,
            identity,
        }
    }

    pub fn kafka(&self) -> KafkaConfig {
        config(&self.rolecall, &self.stack)
    }

    /// The log under another prefix, on the same stack.
    pub fn kafka_of(&self, prefix: &str) -> KafkaConfig {
        kafka_config(&self.stack, prefix)
    }

    /// A client that trusts the stack and its services.
    pub fn http(&self) -> reqwest::Client {
        http(self.stack.certificates()).build().unwrap()
    }

    /// What the service at `root` tells of itself; nothing while it does not answer.
    pub async fn metrics(&self, root: &str) -> Option<String> {
        let answer = self.http().get(format!("{root}/metrics")).send().await.ok()?;
        answer.text().await.ok()
    }

    pub fn ledgers(&self) -> i32 {
        self.identity.created.ledgers
    }

    /// Runs the program `replay` on this log: its exit code and what it printed.
    pub async fn replay(&self, arguments: &[&str]) -> (i32, String) {
        self.run("replay", arguments).await
    }

    /// Runs a program with what the services were started with: its exit code and what it printed.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(programs().await.join(program))
            .args(arguments)
            .env("ROLECALL_COMMAND_URL", self.rolecall.command_url())
            .envs(
                self.rolecall
                    .environment()
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// The chain of every partition is whole.
    pub async fn verify(&self) {
        let (code, text) = self.replay(&["verify"]).await;
        assert_eq!(code, 0, "replay verify says:\n{text}");
    }

    /// Copies the logs out of the stack's folder, which is about to go.
    pub fn keep_logs(&self) -> Option<PathBuf> {
        let kept = tempfile::Builder::new()
            .prefix("rolecall-failed-")
            .tempdir()
            .ok()?
            .keep();
        // Those of further instances too.
        let folder = self.rolecall.command().log().parent()?;
        for log in std::fs::read_dir(folder).ok()? {
            let log = log.ok()?;
            std::fs::copy(log.path(), kept.join(log.file_name())).ok()?;
        }
        Some(kept)
    }

    pub async fn shut_down(self) {
        self.rolecall.shutdown().await.unwrap();
        self.stack.shutdown().await.unwrap();
    }
}

fn config(rolecall: &LocalRolecall, stack: &Stack) -> KafkaConfig {
    kafka_config(stack, rolecall.topic_prefix())
}

fn kafka_config(stack: &Stack, prefix: &str) -> KafkaConfig {
    let bootstrap = stack.kafka_bootstrap();
    let Some(certificates) = stack.certificates() else {
        return KafkaConfig::plain(bootstrap, prefix);
    };
    let trust = Trust {
        ca_file: Some(certificates.authority()),
        ..Trust::public()
    };
    KafkaConfig::new(bootstrap, prefix, KafkaSecurity::default(), &trust).unwrap()
}

/// Folder of the programs under test, built anew unless `ROLECALL_PROGRAMS` names one: nobody wants
/// to learn after an hour that yesterday's service was tested.
pub async fn programs() -> PathBuf {
    static BUILT: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    BUILT
        .get_or_init(async || {
            if let Some(folder) = std::env::var_os("ROLECALL_PROGRAMS") {
                return folder.into();
            }
            let program = std::env::current_exe().unwrap();
            let mut folder = program.parent().unwrap().to_owned();
            if folder.ends_with("deps") {
                folder.pop();
            }
            let packages = [
                "command-service",
                "query-service",
                "projector",
                "replay",
                "rolecall-keys",
                "rolecall-shards",
                "rolecall-import",
            ];
            let mut build = Command::new(env!("CARGO"));
            build
                .args(["build", "--quiet", "--bins"])
                .args(packages.iter().flat_map(|it| ["-p", it]));
            if folder.ends_with("release") {
                build.arg("--release");
            }
            let target = folder.parent().unwrap();
            let built = build.env("CARGO_TARGET_DIR", target).status().await.unwrap();
            assert!(built.success(), "the services do not build");
            folder
        })
        .await
        .clone()
}
