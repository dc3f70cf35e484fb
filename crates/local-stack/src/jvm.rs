//! The Java runtime, and class archives (AppCDS) that halve the start of the Java servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Launch, Result, Server, files};

#[derive(Debug, Clone)]
pub(crate) struct Java {
    pub program: PathBuf,
    /// Names the archives: one made by another Java version is ignored by the JVM.
    version: String,
}

impl Java {
    pub const OLDEST: u32 = 17;

    /// `JAVA_HOME` first, then `PATH`; `None` if there is none or it is too old for Kafka.
    pub fn find() -> Option<Self> {
        let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
        let programs = [
            home.filter(|program| program.is_file()),
            files::find_program("java"),
        ];
        programs.into_iter().flatten().find_map(|program| {
            let printed = files::run(Command::new(&program).arg("-version")).ok()?;
            let version = printed.split('"').nth(1)?.to_owned();
            let major: u32 = version.split(['.', '-', '+']).next()?.parse().ok()?;
            (major >= Self::OLDEST).then_some(Self { program, version })
        })
    }

    pub fn archive(&self, home: &Path) -> PathBuf {
        home.join(format!("classes-{}.jsa", self.version))
    }

    /// The flags to use the archive if there is one.
    pub fn archive_flags(&self, home: &Path) -> Vec<String> {
        let archive = self.archive(home);
        let found = archive
            .is_file()
            .then(|| format!("-XX:SharedArchiveFile={}", archive.display()));
        found
            .into_iter()
            .chain(["-Xshare:auto".to_owned(), "-Xlog:cds=off".to_owned()])
            .collect()
    }
}

/// Runs a server once and lets the JVM write down the classes it loaded. Start-up is only slower without it, so a JVM
/// that can't do it is no error.
pub(crate) async fn write_archive(
    java: &Java,
    home: &Path,
    launch: impl AsyncFnOnce(String) -> Result<Launch>,
) -> Result<()> {
    let archive = java.archive(home);
    if archive.is_file() {
        return Ok(());
    }
    let partial = archive.with_extension("partial");
    let launch = launch(format!("-XX:ArchiveClassesAtExit={}", partial.display())).await?;
    let server = Server::start(launch.stop_within(std::time::Duration::from_secs(120))).await?;
    server.stop().await?;
    if partial.is_file() {
        files::rename(&partial, &archive)
    } else {
        tracing::warn!(
            "Java wrote no class archive; {} will start more slowly",
            server.name()
        );
        Ok(())
    }
}
