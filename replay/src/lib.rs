//! `replay` answers investigators from the Kafka log alone: no database, no service, no registry.
//!
//! `timeline` lists what happened to one user; `verify` proves that every chained partition is as
//! its writers left it. Both read up to the high watermark of the moment they start and stop there.
//! Records stream through; memory holds one number an aggregate, never a partition.
//!
//! Exit codes: 0 for a good answer, 1 where the answer is bad news (an altered log, a user without
//! events), 2 where there is no answer (wrong input, wrong key, no log, Kafka does not answer).
//!
//! To add a question an investigator can ask: write its file with `Args` and `run` beside
//! `timeline.rs`, read records through [`reading`], keep what it decides in a pure struct that
//! tests can feed, and name it in [`cli::Question`] and in [`run`].

pub mod cli;
pub mod error;
pub mod reading;
pub mod timeline;
pub mod verify;

pub use error::Error;

use cli::{Cli, Question};

/// Whether the answer is the one hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Bad,
}

/// Answers one question on standard output.
pub async fn run(cli: Cli) -> Result<Outcome, Error> {
    match cli.question {
        Question::Timeline(args) => timeline::run(args).await,
        Question::Verify(args) => verify::run(args).await,
    }
}
