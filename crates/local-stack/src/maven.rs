//! Jars by Maven, with the user's own Maven settings.

use std::path::Path;
use std::process::Command;

use crate::{Result, files};

/// Copies artifacts and all they need at run time into a folder.
pub(crate) fn copy_with_dependencies(artifacts: &[&str], work: &Path, into: &Path) -> Result<()> {
    let pom = work.join("pom.xml");
    files::write(&pom, &project(artifacts))?;
    let mut maven = quiet_maven();
    maven.arg("-f").arg(&pom);
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", into.display()));
    files::run(&mut maven).map(drop)
}

/// Copies one artifact, `group:name:version:packaging:classifier`, into a folder.
pub(crate) fn copy(artifact: &str, into: &Path) -> Result<()> {
    let mut maven = quiet_maven();
    maven.current_dir(into); // not in a folder that happens to hold a pom.xml
    maven.args(["dependency:copy", &format!("-Dartifact={artifact}")]);
    maven.arg(format!("-DoutputDirectory={}", into.display()));
    files::run(&mut maven).map(drop)
}

fn quiet_maven() -> Command {
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet"]);
    maven
}

fn project(artifacts: &[&str]) -> String {
    let dependencies: String = artifacts
        .iter()
        .filter_map(|artifact| {
            let mut parts = artifact.split(':');
            let (group, name, version) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
                 <version>{version}</version></dependency>\n"
            ))
        })
        .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>local</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}
