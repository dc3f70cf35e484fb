//! Why there is no answer.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use event_log::identity::IdentityError;
use event_log::{DecodeError, KeyRingError, TailError, WatermarkError};
use schemas::{EncryptionError, LogId, NormaliseError, Stream};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Kafka at {bootstrap} does not answer{}", reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    Unreachable {
        bootstrap: String,
        reason: Option<String>,
    },
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("there is no log under the topic prefix {prefix:?} at {bootstrap}")]
    NoLog { bootstrap: String, prefix: String },
    #[error("this is not a log that can be read")]
    Identity(#[from] IdentityError),
    #[error("the log's {what} is {found}; this program knows only {known}")]
    Foreign {
        what: &'static str,
        found: String,
        known: String,
    },
    #[error("reading the log")]
    Tail(#[from] TailError),
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    #[error("reading the log")]
    Record(#[from] DecodeError),
    #[error("{stream}-{partition} cannot be read at offset {offset}: {reason}; ask `replay verify`", stream = stream.name())]
    Stopped {
        stream: Stream,
        partition: i32,
        offset: i64,
        reason: String,
    },
    #[error("the log has no partition {0}")]
    NoPartition(String),
    #[error("the key file {}", path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("the key file {}", path.display())]
    Key { path: PathBuf, source: EncryptionError },
    #[error("the {key} given is not the one that log {log_id} was created with")]
    WrongKey { key: &'static str, log_id: LogId },
    #[error("finding a user by name or e-mail needs the index key: --index-key-file (else give the user id)")]
    NoIndexKey,
    #[error("{text:?} is neither a user id, nor a user name, nor an e-mail address")]
    NotAUser { text: String, source: NormaliseError },
    #[error("opening personal data")]
    KeyRing(#[from] KeyRingError),
    #[error("writing the answer")]
    Output(#[from] io::Error),
    #[error("writing the answer as JSON")]
    Json(#[from] serde_json::Error),
    #[error("starting")]
    Runtime(#[source] io::Error),
    #[error("a task ended early: {0}")]
    Interrupted(String),
}

impl Error {
    /// The error and its causes on one line.
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some causes repeat what their wrapper says already.
            if !line.ends_with(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        line.replace('\n', " ")
    }

    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
            || matches!(self, Self::Json(error) if error.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    }
}
