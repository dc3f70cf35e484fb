//! Small file operations, with errors that name the path, and the cache's lock.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result};

pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(format!("create {}", path.display())))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}

/// Readable by its owner alone.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    let opened = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io(format!("write {}", path.display())))
}

pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io(format!("move {} to {}", from.display(), to.display())))
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::io(format!("change the permissions of {}", path.display())))
}

pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
            action: format!("remove {}", path.display()),
            source,
        }),
        _ => Ok(()),
    }
}

/// A folder that removes itself, below `parent` or the system's folder for temporary files. Servers that run as
/// another user must be able to pass through it.
pub(crate) fn temp_dir(prefix: &str, parent: Option<&Path>) -> Result<tempfile::TempDir> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let dir = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(&parent)
        .map_err(Error::io(format!("create a folder in {}", parent.display())))?;
    set_mode(dir.path(), 0o711)?;
    Ok(dir)
}

pub(crate) fn append_to(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(format!("open the log {}", path.display())))
}

/// The last lines that were written after `from`.
pub(crate) fn tail(path: &Path, from: u64) -> String {
    const LINES: usize = 30;
    let text = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    match text {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        }
        Err(error) => format!("(unreadable: {error})"),
    }
}

/// Copies a folder with owners and times. Plain reads and writes: looking for holes and shared blocks in thousands of
/// small files takes twice as long as copying them.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp")
        .args(["-a", "--reflink=never", "--sparse=never"])
        .arg(from)
        .arg(to))
    .map(drop)
}

/// Runs a tool to its end and returns what it printed; its output is in the error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(Error::io(format!("run {program}")))?;
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.success() {
        Ok(printed)
    } else {
        Err(Error::Tool {
            program,
            status: output.status,
            output: printed,
        })
    }
}

/// The program in `PATH`, or in the folders that a user's `PATH` may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Held while this process changes the cache; others wait.
pub(crate) fn lock_cache(cache: &Path) -> Result<File> {
    create_dir(cache)?;
    let lock = open_lock(&cache.join(".lock"))?;
    lock.lock()
        .map_err(Error::io(format!("lock {}", cache.display())))?;
    Ok(lock)
}

/// Held as long as a stack uses the folder.
pub(crate) fn lock_data(data: &Path) -> Result<File> {
    let lock = open_lock(&data.join(".lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Error::DataDirInUse {
            path: data.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(Error::Io {
            action: format!("lock {}", data.display()),
            source,
        }),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(format!("open {}", path.display())))
}

/// Builds a folder of the cache aside and moves it into place when complete, so a broken attempt leaves nothing.
pub(crate) fn build_once(target: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if target.is_dir() {
        return Ok(());
    }
    let partial = target.with_extension("partial");
    remove_dir(&partial)?;
    create_dir(&partial)?;
    build(&partial)?;
    rename(&partial, target)
}

pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to);
    copied
        .map(drop)
        .map_err(Error::io(format!("copy {} to {}", from.display(), to.display())))
}

pub(crate) fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(Error::io(format!("remove {}", path.display())))
}

pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let action = || format!("list {}", dir.display());
    let entries = fs::read_dir(dir).map_err(Error::io(action()))?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(action())))
        .collect()
}

pub(crate) fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = append_to(path)?;
    file.write_all(text.as_bytes())
        .map_err(Error::io(format!("write {}", path.display())))
}
