//! What a setting of TLS can have wrong.

use std::io;
use std::path::PathBuf;

/// Each message is the one line an operator needs: which file or variable, and what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0}: that is refused unless ROLECALL_PLAINTEXT=allowed, which is for a machine or network that nobody else is on"
    )]
    Plain(String),
    #[error("{given} is set and {missing} is not: a certificate and its key belong together")]
    Half {
        given: &'static str,
        missing: &'static str,
    },
    #[error("reading {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("{} holds no certificate in PEM form", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key in PEM form", path.display())]
    NoKey { path: PathBuf },
    #[error("{}: {cause}", path.display())]
    Content { path: PathBuf, cause: String },
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {} is good from {from} until {until} only", path.display())]
    OutOfTime {
        path: PathBuf,
        from: String,
        until: String,
    },
    #[error("preparing a client of HTTPS: {0}")]
    Client(#[source] reqwest::Error),
}
