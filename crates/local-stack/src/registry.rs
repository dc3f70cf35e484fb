//! The Apicurio schema registry, with the API that Confluent's clients speak. Its store is a file, so ids survive a
//! restart.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::jvm::{self, Java};
use crate::{Certificates, Launch, Result, files, maven, ports};

const VERSION: &str = "2.6.13.Final";
const API: &str = "/apis/ccompat/v7";

#[derive(Debug, Clone)]
pub(crate) struct Registry {
    home: PathBuf,
    java: Java,
}

impl Registry {
    pub fn new(cache: &Path, java: Java) -> Self {
        Self {
            home: cache.join(format!("apicurio-registry-{VERSION}")),
            java,
        }
    }

    pub fn is_fetched(&self) -> bool {
        self.home.is_dir()
    }

    pub fn has_archive(&self) -> bool {
        self.java.archive(&self.home).is_file()
    }

    pub fn fetch(&self) -> Result<()> {
        files::build_once(&self.home, |partial| {
            maven::copy(
                &format!("io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"),
                partial,
            )?;
            let archive = partial.join(format!("apicurio-registry-app-{VERSION}-all.tar.gz"));
            files::run(
                Command::new("tar")
                    .arg("-xzf")
                    .arg(&archive)
                    .arg("-C")
                    .arg(partial),
            )?;
            files::remove_file(&archive)
        })
    }

    pub async fn write_archive(&self) -> Result<()> {
        let work = files::temp_dir("rolecall-registry-", None)?;
        jvm::write_archive(&self.java, &self.home, async |flag| {
            self.launch(
                &work.path().join("data"),
                &work.path().join("registry.log"),
                ports::free()?,
                None,
                vec![flag],
            )
        })
        .await
    }

    pub fn prepare(&self, data: &Path, log: &Path, port: u16, tls: Option<&Certificates>) -> Result<Launch> {
        self.launch(data, log, port, tls, self.java.archive_flags(&self.home))
    }

    fn launch(
        &self,
        data: &Path,
        log: &Path,
        port: u16,
        tls: Option<&Certificates>,
        archive_flags: Vec<String>,
    ) -> Result<Launch> {
        let scratch = data.join("tmp");
        files::create_dir(&scratch)?;
        Ok(Launch::new("registry", &self.java.program, log)
            .args([
                "-Xms64m",
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData",
            ])
            .arg(format!("-Djava.io.tmpdir={}", scratch.display()))
            .args(archive_flags)
            .arg("-Dquarkus.http.host=127.0.0.1")
            .args(listening(port, tls))
            .args([
                "-Dquarkus.datasource.jdbc.initial-size=2",
                "-Dquarkus.datasource.jdbc.min-size=1",
                "-Dquarkus.datasource.jdbc.max-size=20",
            ])
            .arg("-jar")
            .arg(
                self.home
                    .join(format!("apicurio-registry-app-{VERSION}-runner.jar")),
            )
            .env(
                "REGISTRY_DATASOURCE_URL",
                format!("jdbc:h2:file:{}", data.join("registry").display()),
            )
            .trusting(tls)
            .ready_at(format!("{}/subjects", url(port, tls))))
    }
}

/// By HTTPS alone, or by HTTP alone.
fn listening(port: u16, tls: Option<&Certificates>) -> Vec<String> {
    let Some(pair) = tls.map(Certificates::server) else {
        return vec![format!("-Dquarkus.http.port={port}")];
    };
    vec![
        format!("-Dquarkus.http.ssl-port={port}"),
        "-Dquarkus.http.insecure-requests=disabled".to_owned(),
        format!(
            "-Dquarkus.http.ssl.certificate.files={}",
            pair.certificate.display()
        ),
        format!("-Dquarkus.http.ssl.certificate.key-files={}", pair.key.display()),
    ]
}

pub(crate) fn url(port: u16, tls: Option<&Certificates>) -> String {
    let scheme = if tls.is_some() { "https" } else { "http" };
    format!("{scheme}://127.0.0.1:{port}{API}")
}
