//! Where a program is told of the shards.

use std::path::{Path, PathBuf};

use crate::pools::PoolSettings;
use crate::shards::LOOK;
use crate::{Error, Shards};

/// Options, each also an environment variable.
// No Debug: DSNs hold passwords.
#[derive(clap::Args, Clone, Default)]
pub struct ShardOptions {
    /// PostgreSQL DSNs of the shards, by commas or lines; a shard's id is its place in the list. Behind its primary, by
    /// spaces, DSNs of its replicas.
    #[arg(
        long,
        env = "ROLECALL_SHARDS",
        hide_env_values = true,
        default_value = "",
        global = true
    )]
    pub shards: String,
    /// A file with the same, which goes before it and is read again when it changes: so shards are added while
    /// everything runs.
    #[arg(long, env = "ROLECALL_SHARDS_FILE", global = true)]
    pub shards_file: Option<PathBuf>,
}

impl ShardOptions {
    /// The configured shards, not connected yet; `None` where there are none.
    pub fn open(&self, settings: &PoolSettings) -> Result<Option<Shards>, Error> {
        let text = match &self.shards_file {
            Some(file) => std::fs::read_to_string(file).map_err(Error::File)?,
            None => self.shards.clone(),
        };
        let lines = lines(&text);
        if lines.is_empty() {
            return Ok(None);
        }
        Shards::connect_lazy(&lines, settings).map(Some)
    }

    /// Takes up what the file says, for as long as the program runs; returns at once where there is none.
    pub async fn follow(self, shards: Shards) {
        let Some(file) = self.shards_file else { return };
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let outcome = take_up(&file, &shards, &mut last).await;
            if let Err(error) = outcome {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "The file of shards is not taken up: {error}"
                );
            }
        }
    }
}

async fn take_up(file: &Path, shards: &Shards, last: &mut Option<String>) -> Result<(), Error> {
    let text = tokio::fs::read_to_string(file).await.map_err(Error::File)?;
    if last.as_ref() == Some(&text) {
        return Ok(());
    }
    let taken = shards.reconfigure(&lines(&text));
    // Said once, not every second.
    *last = Some(text);
    taken
}

/// Without what stands behind a `#` that begins a line.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| line.split(',')).map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_come_by_commas_and_lines() {
        assert_eq!(lines("a, b\n\n# c\nd e,\n"), ["a", "b", "d e"]);
        assert!(lines(" \n,").is_empty());
    }

    #[tokio::test]
    async fn the_file_goes_before_the_list_and_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shards");
        std::fs::write(&file, "postgres://h/a\n").unwrap();
        let options = ShardOptions {
            shards: "postgres://h/z, postgres://h/y".to_owned(),
            shards_file: Some(file.clone()),
        };
        let shards = options.open(&PoolSettings::projecting()).unwrap().unwrap();
        assert_eq!(shards.count(), 1);
        let mut last = None;
        std::fs::write(&file, "postgres://h/a\npostgres://h/b\n").unwrap();
        take_up(&file, &shards, &mut last).await.unwrap();
        assert_eq!(shards.count(), 2);
        std::fs::write(&file, "").unwrap();
        let vanished = take_up(&file, &shards, &mut last).await;
        assert!(matches!(vanished, Err(Error::ShardsVanished { .. })));
        take_up(&file, &shards, &mut last).await.unwrap();
        assert_eq!(shards.count(), 2, "what is said once stays out");
    }
}
