//! What can go wrong, and what to do about it.

use std::path::PathBuf;
use std::process::ExitStatus;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} is missing; install it with:\n    {command}")]
    Missing { what: String, command: String },

    #[error("{name} ended during its start ({status}); its log {log} ends with:\n{tail}", log = log.display())]
    Exited {
        name: String,
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },

    #[error("{name} did not answer within {seconds} s; its log {log} ends with:\n{tail}", log = log.display())]
    NotReady {
        name: String,
        seconds: u64,
        log: PathBuf,
        tail: String,
    },

    #[error("{0} is not running; start it with restart()")]
    NotRunning(String),

    #[error("another stack uses the data folder {path}; stop it, or choose another folder", path = path.display())]
    DataDirInUse { path: PathBuf },

    #[error("the data folder {path} was made for {found}, not for {wanted}; choose another folder, or remove it", path = path.display())]
    OtherShape {
        path: PathBuf,
        found: String,
        wanted: String,
    },

    #[error("no free port found between {low} and {high} on 127.0.0.1; stop other programs")]
    NoFreePort { low: u16, high: u16 },

    #[error("{program} failed ({status}); it printed:\n{output}")]
    Tool {
        program: String,
        status: ExitStatus,
        output: String,
    },

    #[error("{what} must be {allowed}, not {value}")]
    Setting {
        what: &'static str,
        allowed: &'static str,
        value: usize,
    },

    #[error("cannot {action}")]
    Io { action: String, source: std::io::Error },

    #[error("a task of the local stack panicked")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// For `map_err`: says what was tried when an I/O call failed.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// The port was free when chosen, but another program bound it first: worth another try with another port.
    pub(crate) fn is_port_collision(&self) -> bool {
        match self {
            Self::Exited { tail, .. } => tail.to_lowercase().contains("in use"),
            _ => false,
        }
    }
}
