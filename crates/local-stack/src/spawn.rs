//! Starting and signalling children, so that none outlives its owner.
//!
//! The kernel's parent-death signal fires when the *thread* that spawned the child ends, not the process. Runtime
//! threads come and go, so one thread that lives as long as the process spawns every child.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;

use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::unistd::{self, Pid};

use crate::{Error, Result};

struct Job {
    command: Command,
    reply: mpsc::SyncSender<io::Result<Child>>,
}

/// Spawns a child in its own process group (a Ctrl-C at the terminal is ours to handle, not its own) that dies with
/// this process.
pub(crate) fn spawn_owned(mut command: Command) -> io::Result<Child> {
    command.process_group(0);
    die_with_parent(&mut command);
    let (reply, answer) = mpsc::sync_channel(1);
    spawner().send(Job { command, reply }).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

fn spawner() -> &'static mpsc::Sender<Job> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for mut job in inbox {
                if let Err(mpsc::SendError(Ok(mut orphan))) = job.reply.send(job.command.spawn()) {
                    tracing::warn!(pid = orphan.id(), "Nobody waits for a new child; killing it");
                    if let Err(error) = orphan.kill() {
                        tracing::warn!(%error, "Cannot kill it");
                    }
                }
            }
        });
        jobs
    })
}

#[expect(
    unsafe_code,
    reason = "pre_exec is unsafe; the closure makes async-signal-safe system calls only"
)]
fn die_with_parent(command: &mut Command) {
    let parent = unistd::getpid();
    let prepare = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the call above: then no signal will come.
        if unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from(nix::errno::Errno::ESRCH))
        }
    };
    // Runs after std has changed user and group, which would clear the parent-death signal.
    unsafe { command.pre_exec(prepare) };
}

/// Starts a program in a session of its own that survives this process, for a stack in the background. It owns its
/// children itself. Returns its process id.
pub fn spawn_detached(mut command: Command, log: &Path) -> Result<u32> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = crate::files::append_to(log)?;
    let errors = output.try_clone().map_err(Error::io("share a log file"))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    new_session(&mut command);
    let child = command.spawn().map_err(Error::io(format!("start {name}")))?;
    Ok(child.id())
}

#[expect(unsafe_code, reason = "pre_exec is unsafe; setsid is async-signal-safe")]
fn new_session(command: &mut Command) {
    let prepare = || {
        unistd::setsid()?;
        Ok(())
    };
    unsafe { command.pre_exec(prepare) };
}

/// Signals one process by its id; one that has ended already is fine.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    match signal::kill(as_pid(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::Io {
            action: format!("send {signal} to process {pid}"),
            source: errno.into(),
        }),
    }
}

/// Signals a process and all below it. PostgreSQL's backends have process groups of their own, so the group is not
/// enough; and a crashed machine or a paused one takes them along.
pub(crate) fn signal_tree(pid: u32, kind: Signal) -> Result<()> {
    if kind != Signal::SIGCONT {
        signal(pid, Signal::SIGSTOP)?; // no new children while we look
    }
    for below in descendants(pid) {
        signal(below, kind)?;
    }
    signal(pid, kind)
}

fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![];
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        open.extend(&below);
        found.extend(below);
    }
    found
}

/// `/proc/<pid>/stat` is `pid (name) state ppid ...`, and the name may hold anything.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}
