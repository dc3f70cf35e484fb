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

    /// `JAVA_HOME` first, then `PATH`, then what Debian's package makes the default, which an older one in `PATH` may
    /// hide; `None` if there is none or all are too old for Kafka.
    pub fn find() -> Option<Self> {
        let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
        let programs = [
            home,
            files::find_program("java"),
            Some(PathBuf::from("/usr/lib/jvm/default-java/bin/java")),
        ];
        let mut programs = programs.into_iter().flatten().filter(|it| it.is_file());
        programs.find_map(|program| {
            let printed = files::run(Command::new(&program).arg("-version")).ok()?;
            let version = new_enough(&printed)?.to_owned();
            Some(Self { program, version })
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

/// The version in what `java -version` printed, unless it is too old.
fn new_enough(printed: &str) -> Option<&str> {
    let version = printed.split('"').nth(1)?;
    let major: u32 = version.split(['.', '-', '+', '_']).next()?.parse().ok()?;
    (major >= Java::OLDEST).then_some(version)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_too_old_for_kafka_counts_as_none() {
        for (version, good) in [
            ("1.8.0_392", false),
            ("11.0.24", false),
            ("17", true),
            ("17.0.15", true),
            ("21-ea", true),
        ] {
            let printed = format!("openjdk version \"{version}\" 2024-07-16\nOpenJDK Runtime Environment");
            assert_eq!(new_enough(&printed), good.then_some(version), "{version}");
        }
        assert_eq!(new_enough("java: cannot execute"), None);
    }
}
