//! The addresses as KEY=VALUE lines, for whoever builds against a running Rolecall.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use local_rolecall::ADMIN_USERNAME;

use crate::running::Running;

/// Moved into place when complete: whoever waits for the file can read it at once.
pub fn write(path: &Path, running: &Running) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        // It holds a password: readable by its owner alone.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        for (name, value) in variables(running) {
            writeln!(file, "{name}={value}")?;
        }
        std::fs::rename(&partial, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn variables(running: &Running) -> Vec<(&'static str, String)> {
    let Running { rolecall, stack } = running;
    let keys = rolecall.keys();
    let file = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    };
    let mut variables = vec![
        ("COMMAND_URL", rolecall.command_url()),
        ("QUERY_URL", rolecall.query_url()),
        ("QUERY_GRPC_URL", rolecall.grpc_url(0)),
        ("PROJECTOR_URL", rolecall.projector_url()),
        ("ADMIN_USERNAME", ADMIN_USERNAME.to_owned()),
        ("ADMIN_PASSWORD", rolecall.admin_password().to_owned()),
        ("KEY_ENCRYPTION_KEY_FILE", file(&keys.key_encryption_key_file)),
        ("INDEX_KEY_FILE", file(&keys.index_key_file)),
        ("TOPIC_PREFIX", rolecall.topic_prefix().to_owned()),
    ];
    variables.extend(stack.env());
    variables
}

/// The value of a variable in the file.
pub fn read(path: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let value = text
        .lines()
        .find_map(|line| line.split_once('=').filter(|(key, _)| *key == name));
    let (_, value) = value.with_context(|| format!("no {name} in {}", path.display()))?;
    Ok(value.to_owned())
}
