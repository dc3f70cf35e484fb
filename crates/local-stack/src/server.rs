//! One server as a child process: start, readiness, and the faults a test inflicts on it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::{Certificates, Error, Probe, Result, files, spawn};

const POLL: Duration = Duration::from_millis(20);

/// How to start a server and to know that it serves.
#[derive(Debug, Clone)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: PathBuf,
    probe: Probe,
    authority: Option<PathBuf>,
    user: Option<(u32, u32)>,
    stop_signal: Signal,
    start_within: Duration,
    stop_within: Duration,
    transient: &'static [&'static str],
}

impl Launch {
    /// Output goes to the end of `log`, whose folder must exist.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: vec![],
            env: vec![],
            log: log.into(),
            probe: Probe::None,
            authority: None,
            user: None,
            stop_signal: Signal::SIGTERM,
            start_within: Duration::from_secs(90),
            stop_within: Duration::from_secs(30),
            transient: &[],
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn envs(self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        variables
            .into_iter()
            .fold(self, |launch, (name, value)| launch.env(name, value))
    }

    /// Ready when this address answers 200; an `https://` one needs [`Self::trusting`].
    #[must_use]
    pub fn ready_at(self, url: impl Into<String>) -> Self {
        let authority = self.authority.clone();
        self.probe(Probe::Http {
            url: url.into(),
            authority,
        })
    }

    /// By whom the server's certificate is, for a later [`Self::ready_at`].
    #[must_use]
    pub fn trusting(mut self, certificates: Option<&Certificates>) -> Self {
        self.authority = certificates.map(Certificates::authority);
        self
    }

    #[must_use]
    pub fn probe(mut self, probe: Probe) -> Self {
        self.probe = probe;
        self
    }

    /// How long the start may take before it counts as failed.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start_within = limit;
        self
    }

    /// How long [`Server::stop`] waits before it kills.
    #[must_use]
    pub fn stop_within(mut self, limit: Duration) -> Self {
        self.stop_within = limit;
        self
    }

    pub(crate) fn user(mut self, user: Option<(u32, u32)>) -> Self {
        self.user = user;
        self
    }

    pub(crate) fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// What a server says when it ends during its start for a reason that passes by itself.
    pub(crate) fn transient(mut self, messages: &'static [&'static str]) -> Self {
        self.transient = messages;
        self
    }

    fn command(&self) -> Result<Command> {
        use std::os::unix::process::CommandExt;
        let output = files::append_to(&self.log)?;
        let errors = output.try_clone().map_err(Error::io("share a log file"))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }
}

/// A child process, ours or a real server. Dropping it kills it.
pub struct Server {
    launch: Launch,
    child: Mutex<Option<Child>>,
    /// One start or stop at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Server {
    /// Starts the child and waits until it answers. If it ends instead, the error holds the last lines of its log.
    pub async fn start(launch: Launch) -> Result<Self> {
        let server = Self {
            launch,
            child: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        server.restart().await?;
        Ok(server)
    }

    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its output.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// The process id while it runs (or is paused).
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        match child.as_mut()?.try_wait() {
            Ok(None) => child.as_ref().map(Child::id),
            _ => None,
        }
    }

    /// Asks once, without waiting for readiness.
    pub async fn is_ready(&self) -> bool {
        self.pid().is_some() && self.launch.probe.is_ready().await
    }

    /// Asks it to end, as an operator would, and kills it if it doesn't. Fine when it has ended already.
    pub async fn stop(&self) -> Result<()> {
        let _one = self.changing.lock().await;
        self.stop_now().await
    }

    /// `kill -9` of the process and all below it: no flush, no goodbye.
    pub async fn kill(&self) -> Result<()> {
        let _one = self.changing.lock().await;
        self.kill_now().await
    }

    /// Starts it with the same data and ports and waits until it answers; stops it first if it runs.
    pub async fn restart(&self) -> Result<()> {
        let _one = self.changing.lock().await;
        self.stop_now().await?;
        let deadline = Instant::now() + self.launch.start_within;
        loop {
            match self.start_now(deadline).await {
                Err(Error::Exited { tail, .. })
                    if Instant::now() < deadline
                        && self.launch.transient.iter().any(|it| tail.contains(it)) =>
                {
                    sleep(10 * POLL).await;
                }
                Err(error) => {
                    self.kill_now().await?;
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Starts it with further environment variables and does not wait until it answers: for faults that keep it from
    /// that. Stops it first if it runs; [`Server::restart`] starts it as before.
    pub async fn start_with(&self, env: &[(String, String)]) -> Result<()> {
        let _one = self.changing.lock().await;
        self.stop_now().await?;
        let launch = self
            .launch
            .clone()
            .envs(env.iter().map(|(name, value)| (name, value)));
        self.spawn(&launch)
    }

    /// Waits until it answers.
    pub async fn ready(&self) -> Result<()> {
        let log_start = std::fs::metadata(&self.launch.log).map_or(0, |log| log.len());
        self.answers(log_start, Instant::now() + self.launch.start_within)
            .await
    }

    /// Freezes it: connections stay open, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        spawn::signal_tree(self.running()?, Signal::SIGSTOP)
    }

    /// Goes on after [`Server::pause`].
    pub fn resume(&self) -> Result<()> {
        spawn::signal_tree(self.running()?, Signal::SIGCONT)
    }

    /// Waits until it ends by itself.
    pub async fn wait(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            sleep(POLL).await;
        }
    }

    async fn start_now(&self, deadline: Instant) -> Result<()> {
        let log_start = std::fs::metadata(&self.launch.log).map_or(0, |log| log.len());
        self.spawn(&self.launch)?;
        self.answers(log_start, deadline).await
    }

    fn spawn(&self, launch: &Launch) -> Result<()> {
        let child = spawn::spawn_owned(launch.command()?).map_err(Error::io(format!(
            "start {} ({})",
            launch.name,
            launch.program.display()
        )))?;
        *self.child() = Some(child);
        Ok(())
    }

    async fn answers(&self, log_start: u64, deadline: Instant) -> Result<()> {
        let launch = &self.launch;
        loop {
            // Asked before the answer counts: another program might answer on the port in place of a dead child.
            let answered = launch.probe.is_ready().await;
            if let Some(status) = self.try_wait()? {
                let tail = files::tail(&launch.log, log_start);
                return Err(Error::Exited {
                    name: launch.name.clone(),
                    status,
                    log: launch.log.clone(),
                    tail,
                });
            }
            if answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (name, log) = (launch.name.clone(), launch.log.clone());
                let tail = files::tail(&log, log_start);
                return Err(Error::NotReady {
                    name,
                    seconds: launch.start_within.as_secs(),
                    log,
                    tail,
                });
            }
            sleep(POLL).await;
        }
    }

    async fn stop_now(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        spawn::signal(pid, self.launch.stop_signal)?;
        spawn::signal_tree(pid, Signal::SIGCONT)?; // a paused one must wake up to end
        match tokio::time::timeout(self.launch.stop_within, self.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => {
                tracing::warn!(
                    server = self.name(),
                    "{} did not stop in time; killing it",
                    self.name()
                );
                self.kill_now().await
            }
        }
    }

    async fn kill_now(&self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        spawn::signal_tree(pid, Signal::SIGKILL)?;
        self.wait().await.map(drop)
    }

    fn running(&self) -> Result<u32> {
        self.pid()
            .ok_or_else(|| Error::NotRunning(self.launch.name.clone()))
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        match self.child().as_mut() {
            Some(child) => child
                .try_wait()
                .map_err(Error::io(format!("wait for {}", self.launch.name))),
            None => Err(Error::NotRunning(self.launch.name.clone())),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Server({}, pid {:?})", self.launch.name, self.pid())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        if let Err(error) = spawn::signal_tree(pid, Signal::SIGKILL) {
            tracing::warn!(%error, "Cannot kill {}", self.launch.name);
        } else if let Some(Err(error)) = self.child().as_mut().map(Child::wait) {
            tracing::warn!(%error, "Cannot wait for {}", self.launch.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Launch {
        Launch::new("script", "/bin/sh", dir.join("script.log")).args(["-c", script])
    }

    #[tokio::test]
    async fn a_child_that_ends_during_its_start_is_an_error_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let launch = shell("sleep 0.1; echo the reason; exit 3", dir.path()).ready_at("http://127.0.0.1:1/");
        let error = Server::start(launch).await.unwrap_err();
        assert!(
            matches!(&error, Error::Exited { status, tail, .. } if status.code() == Some(3) && tail == "the reason")
        );
    }

    #[tokio::test]
    async fn kill_takes_the_children_of_the_child_along() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("grandchild");
        let script = format!(
            "setsid sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
            note.display()
        );
        let server = Server::start(shell(&script, dir.path())).await.unwrap();
        while !note.exists() {
            sleep(POLL).await;
        }
        let grandchild = std::fs::read_to_string(&note).unwrap();
        server.kill().await.unwrap();
        assert_eq!(server.pid(), None);
        // Killed with the rest, but nobody's child any more: the kernel ends it when it gets there.
        let stat = format!("/proc/{}/stat", grandchild.trim());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn a_paused_child_still_stops() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(shell("sleep 1000", dir.path())).await.unwrap();
        server.pause().unwrap();
        server.stop().await.unwrap();
        assert!(matches!(server.pause(), Err(Error::NotRunning(_))));
    }
}
