//! Where one stack keeps its data, logs and sockets.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result, files};

/// Folders that last as long as this value, except a data folder that was given.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    sockets: TempDir,
    _temporary: Option<TempDir>,
    _lock: File,
}

impl Home {
    pub fn open(given: Option<&Path>) -> Result<Self> {
        let temporary = if given.is_none() {
            Some(files::temp_dir("rolecall-", None)?)
        } else {
            None
        };
        let path = match (given, &temporary) {
            (Some(path), _) => {
                files::create_dir(path)?;
                std::fs::canonicalize(path).map_err(Error::io(format!("find {}", path.display())))?
            }
            (None, Some(dir)) => dir.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };
        let lock = files::lock_data(&path)?;
        files::create_dir(&path.join("logs"))?;
        // A socket's path has at most 107 bytes: the data folder may be too deep, and so may TMPDIR.
        let sockets = files::temp_dir("rc", Some(Path::new("/tmp")))?;
        Ok(Self {
            path,
            sockets,
            _temporary: temporary,
            _lock: lock,
        })
    }

    /// Data that was made for other numbers of servers can't be used: shards would be missing.
    pub fn check_shape(&self, kafka_nodes: usize, postgres_clusters: usize, shards: usize) -> Result<()> {
        let wanted = format!(
            "{kafka_nodes} Kafka node(s) and {shards} shards on {postgres_clusters} PostgreSQL cluster(s)"
        );
        let note = self.path.join("shape");
        if !note.is_file() {
            return files::write(&note, &wanted);
        }
        let found = files::read(&note)?;
        if found == wanted {
            Ok(())
        } else {
            Err(Error::OtherShape {
                path: self.path.clone(),
                found,
                wanted,
            })
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    pub fn sockets(&self, name: &str) -> Result<PathBuf> {
        let dir = self.sockets.path().join(name);
        files::create_dir(&dir)?;
        Ok(dir)
    }
}
