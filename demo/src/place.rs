//! The folder of the background process, and who has it.
//!
//! A lock that a running process holds is the only proof that it runs; a file may be left by a crash. There are two:
//! the first says that a process is starting, up or stopping, the second that the pid file holds its pid. Whoever only
//! asks shares a lock for a moment.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use tokio::time::sleep;

const ASKER_GONE: Duration = Duration::from_millis(5);

/// What lies in the folder.
pub struct Place {
    pub folder: PathBuf,
}

impl Place {
    pub fn open(folder: &Path) -> Result<Self> {
        let found = std::fs::create_dir_all(folder).and_then(|()| std::fs::canonicalize(folder));
        Ok(Self {
            folder: found.with_context(|| format!("making the folder {}", folder.display()))?,
        })
    }

    pub fn env_file(&self) -> PathBuf {
        self.folder.join("rolecall.env")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("rolecall.log")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("rolecall.lock")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("rolecall.pid")
    }

    /// Takes the folder for this process, unless another has it.
    pub async fn take(&self) -> Result<Option<Taken>> {
        let Some(lock) = hold(&self.lock_file()).await? else {
            return Ok(None);
        };
        self.remove_env_file()?;
        write_pid(&self.pid_file())?;
        // Only the one who holds the first lock wants the second.
        let pid = hold(&self.pid_file()).await?;
        let pid = pid.context("another process holds the pid file")?;
        Ok(Some(Taken {
            _pid: pid,
            _lock: lock,
        }))
    }

    /// Whether a process has it: it may still be starting, or stopping.
    pub fn is_taken(&self) -> Result<bool> {
        is_held(&self.lock_file())
    }

    /// Of the process that has it, once it has removed what a crash left.
    pub fn pid(&self) -> Result<Option<Pid>> {
        let path = self.pid_file();
        if !is_held(&path)? {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).context("reading the pid file")?;
        Ok(text.trim().parse().ok().map(Pid::from_raw))
    }

    /// The process has written its addresses, so everything is up.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(self.pid()?.is_some() && self.env_file().exists())
    }

    pub fn remove_env_file(&self) -> Result<()> {
        match std::fs::remove_file(self.env_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("removing the old addresses")
            }
            _ => Ok(()),
        }
    }
}

/// The folder is this process's until it drops this or ends in any way.
pub struct Taken {
    // First: whoever sees the pid must see the process behind it.
    _pid: File,
    _lock: File,
}

/// Waits for those who only ask; `None` if another process holds the lock.
async fn hold(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if is_held(path)? => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(ASKER_GONE).await,
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| locking(path)),
        }
    }
}

fn is_held(path: &Path) -> Result<bool> {
    match open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| locking(path)),
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    file.with_context(|| locking(path))
}

fn locking(path: &Path) -> String {
    format!("locking {}", path.display())
}

/// Before the file is locked: until then nobody reads it.
fn write_pid(path: &Path) -> Result<()> {
    let write = || -> std::io::Result<()> {
        File::create(path)?.write_all(std::process::id().to_string().as_bytes())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed again.
    struct Temporary(Place);

    impl Temporary {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("rolecall-{name}-{}", std::process::id()));
            Self(Place::open(&folder).unwrap())
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0.folder).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_start_succeeds_however_many_ask_at_that_moment() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = Temporary::new("asked");
        let (place, done) = (&folder.0, AtomicBool::new(false));
        let taken = tokio::task::block_in_place(|| {
            let ask = || {
                while !done.load(Ordering::Relaxed) {
                    assert!(place.is_taken().is_ok() && place.pid().is_ok());
                }
            };
            let take = || {
                let takes = async {
                    let mut all = true;
                    for _ in 0..20 {
                        all &= place.take().await.is_ok_and(|taken| taken.is_some());
                    }
                    all
                };
                let all = tokio::runtime::Handle::current().block_on(takes);
                done.store(true, Ordering::Relaxed);
                all
            };
            std::thread::scope(|scope| {
                scope.spawn(ask);
                scope.spawn(ask);
                take()
            })
        });
        assert!(taken);
    }

    #[tokio::test]
    async fn one_process_at_a_time_has_the_folder() {
        let folder = Temporary::new("taken");
        let place = &folder.0;
        assert!(!place.is_taken().unwrap());
        let taken = place.take().await.unwrap().unwrap();
        assert!(place.take().await.unwrap().is_none());
        assert!(place.is_taken().unwrap());
        assert_eq!(place.pid().unwrap(), Some(Pid::this()));
        drop(taken);
        assert!(!place.is_taken().unwrap());
        assert_eq!(place.pid().unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_crash_left_is_never_taken_for_the_next_process() {
        let folder = Temporary::new("stale");
        let place = &folder.0;
        std::fs::write(place.pid_file(), "1").unwrap();
        std::fs::write(place.env_file(), "COMMAND_URL=old\n").unwrap();
        // The next process has come as far as its first lock.
        let starting = hold(&place.lock_file()).await.unwrap();
        assert!(starting.is_some() && place.is_taken().unwrap());
        assert_eq!(place.pid().unwrap(), None);
        assert!(!place.is_ready().unwrap());
        drop(starting);
        let taken = place.take().await.unwrap();
        assert!(taken.is_some());
        assert_eq!(place.pid().unwrap(), Some(Pid::this()));
        assert!(!place.is_ready().unwrap());
    }
}
