//! `up` and `down`: one process in the background owns the servers, and `place` says which.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::env_file;
use crate::place::Place;
use crate::running::Running;
use crate::shutdown::Shutdown;

const POLL: Duration = Duration::from_millis(100);
const STOP_WITHIN: Duration = Duration::from_secs(120);

/// Starts the background process and waits until everything is ready.
pub async fn up(folder: &Path) -> Result<()> {
    let place = Place::open(folder)?;
    if place.is_taken()? {
        wait_until_ready(&place, None).await?;
        check(&place).await?;
        println!("Rolecall is up already.");
        return show(&place);
    }
    let mut log = Log::from_end(place.log())?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("serve").arg("--folder").arg(&place.folder);
    let pid = local_stack::spawn_detached(command, &place.log())?;
    wait_until_ready(&place, Some((Pid::from_raw(pid.cast_signed()), &mut log))).await?;
    println!("Rolecall is up.");
    show(&place)
}

/// The addresses are written when all is ready; the process ends if it can't be, or if another came first.
async fn wait_until_ready(place: &Place, mut child: Option<(Pid, &mut Log)>) -> Result<()> {
    while !place.is_ready()? {
        if let Some((pid, log)) = &mut child {
            log.show_news()?;
            let status = waitpid(*pid, Some(WaitPidFlag::WNOHANG)).context("waiting for the start")?;
            if status != WaitStatus::StillAlive {
                log.show_news()?;
                child = None;
            }
        }
        if child.is_none() && !place.is_taken()? {
            bail!("it did not start; see {}", place.log().display());
        }
        sleep(POLL).await;
    }
    match child {
        Some((_, log)) => log.show_news(),
        None => Ok(()),
    }
}

/// Whether the services that were started still serve.
async fn check(place: &Place) -> Result<()> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()?;
    for name in ["COMMAND_URL", "QUERY_URL", "PROJECTOR_URL"] {
        let url = format!("{}/readyz", env_file::read(&place.env_file(), name)?);
        let answer = http.get(&url).send().await;
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            let log = place.log();
            bail!(
                "Rolecall is up, but {url} is not ready; see {}, or try down and up",
                log.display()
            );
        }
    }
    Ok(())
}

fn show(place: &Place) -> Result<()> {
    let env = place.env_file();
    for (what, name, page) in [
        ("commands", "COMMAND_URL", "/docs"),
        ("queries", "QUERY_URL", "/docs"),
    ] {
        println!("  {what:<10} {}{page}", env_file::read(&env, name)?);
    }
    println!("  {:<10} {}", "addresses", env.display());
    println!("  {:<10} {}", "logs", place.data().join("logs").display());
    Ok(())
}

/// Asks the background process to stop everything, and waits for it.
pub async fn down(folder: &Path) -> Result<()> {
    let place = Place::open(folder)?;
    let began = Instant::now();
    let mut told = None;
    while place.is_taken()? {
        let pid = place.pid()?;
        // None just after its start.
        if let Some(pid) = pid.filter(|_| told.is_none()) {
            kill(pid, Signal::SIGTERM).with_context(|| format!("asking process {pid} to end"))?;
            told = Some(pid);
        }
        if began.elapsed() > STOP_WITHIN {
            let pid = pid.context("the background process wrote no pid")?;
            // Its children die with it.
            kill(pid, Signal::SIGKILL).with_context(|| format!("killing process {pid}"))?;
            bail!(
                "Rolecall did not stop within {} s and was killed",
                STOP_WITHIN.as_secs()
            );
        }
        sleep(POLL).await;
    }
    place.remove_env_file()?;
    match told {
        Some(_) => println!("Rolecall is down; its data stays in {}.", place.data().display()),
        None => println!("Rolecall is not up."),
    }
    Ok(())
}

/// The background process itself.
pub async fn serve(folder: &Path) -> Result<()> {
    let place = Place::open(folder)?;
    let mut shutdown = Shutdown::listen()?;
    let Some(taken) = place.take().await? else {
        bail!("Rolecall is up already")
    };
    let running = tokio::select! {
        started = Running::start(Some(place.data())) => started?,
        // Dropping the start kills what it had started.
        () = shutdown.wanted() => bail!("asked to end during the start"),
    };
    env_file::write(&place.env_file(), &running)?;
    tokio::select! {
        () = keep_alive(&running) => {}
        () = shutdown.wanted() => {}
    }
    eprintln!("stopping");
    place.remove_env_file()?;
    running.shutdown().await?;
    eprintln!("stopped");
    drop(taken);
    Ok(())
}

/// Starts again what ended by itself or was killed, as a service manager would.
async fn keep_alive(running: &Running) {
    loop {
        sleep(Duration::from_secs(1)).await;
        for server in running.servers().filter(|server| server.pid().is_none()) {
            eprintln!(
                "{} ended; starting it again (its log: {})",
                server.name(),
                server.log().display()
            );
            if let Err(error) = server.restart().await {
                eprintln!("{error}");
            }
        }
    }
}

/// The background process's words, as they come.
struct Log {
    path: PathBuf,
    shown: u64,
}

impl Log {
    fn from_end(path: PathBuf) -> Result<Self> {
        let shown = match std::fs::metadata(&path) {
            Ok(it) => it.len(),
            Err(_) => 0, // made by the start
        };
        Ok(Self { path, shown })
    }

    fn show_news(&mut self) -> Result<()> {
        let mut news = Vec::new();
        let mut read = || -> std::io::Result<()> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.shown))?;
            file.read_to_end(&mut news)?;
            std::io::stderr().write_all(&news)
        };
        read().with_context(|| format!("reading {}", self.path.display()))?;
        self.shown += u64::try_from(news.len())?;
        Ok(())
    }
}
