//! Users in bulk: rows become registrations as everybody else's do, under claims on both names.

pub mod lines;
mod row;

use std::sync::Arc;

use event_log::{CommandContext, Receipt};
use futures::StreamExt as _;
use schemas::user::UserEvent;
use schemas::{Idempotency, Position};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::imports::lines::Line;
use crate::imports::row::Row;

/// Tasks that work on one import.
const TASKS: usize = 4;
/// Rows of each task that are on their way at once.
const AT_ONCE: usize = 256;

/// What became of the lines of an import.
#[derive(Debug, Default)]
pub struct Outcome {
    pub imported: u64,
    /// Line and reason, in the order of the lines.
    pub rejected: Vec<(u64, Problem)>,
    /// What was written, by partition the last.
    pub written: Vec<Position>,
}

impl App {
    /// Imports each line or rejects it whole. `context` is the call's; with an idempotency key a line that was
    /// imported under it before is found imported.
    pub async fn import(self: &Arc<Self>, lines: Vec<Line>, context: CommandContext) -> Outcome {
        let mut shares: Vec<Vec<Line>> = (0..TASKS).map(|_| Vec::new()).collect();
        for (number, line) in lines.into_iter().enumerate() {
            shares[number % TASKS].push(line);
        }
        let tasks = shares.into_iter().map(|share| {
            let (app, context) = (Arc::clone(self), context.clone());
            // A task of the service's own: a client that hangs up stops no row half way.
            self.sagas
                .spawn(async move { app.import_share(share, &context).await })
        });
        let mut outcome = Outcome::default();
        for ended in futures::future::join_all(tasks).await {
            match ended {
                Ok(share) => outcome.join(share),
                Err(error) => tracing::error!(%error, "A part of an import failed"),
            }
        }
        outcome.rejected.sort_by_key(|(line, _)| *line);
        outcome
    }

    async fn import_share(&self, lines: Vec<Line>, context: &CommandContext) -> Outcome {
        let each = futures::stream::iter(lines)
            .map(async |line| (line.number, self.import_line(line, context).await));
        each.buffer_unordered(AT_ONCE)
            .fold(Outcome::default(), async |mut outcome, (number, ended)| {
                match ended {
                    Ok(receipt) => outcome.note(&receipt),
                    Err(problem) => outcome.rejected.push((number, problem)),
                }
                outcome
            })
            .await
    }

    async fn import_line(&self, line: Line, context: &CommandContext) -> Result<Receipt<UserEvent>, Problem> {
        let row = Row::parse(&line)?;
        let of_line = context.idempotency.map(|of_call| Idempotency {
            key_digest: self.index_key.digest(
                "import-line",
                &[&of_call.key_digest.0, &line.number.to_be_bytes()],
            ),
            request_digest: self.index_key.digest("import-row", &[&row.fingerprint()]),
        });
        let shared = of_line.is_some();
        let (registration, key) = row.registration(self, of_line)?;
        let context = CommandContext {
            // The ids follow from the key, so that each step finds what was done; no user has to remember it.
            idempotency: None,
            new_data_key: Some(key),
            ..context.clone()
        };
        match self.run_registration(registration, context, shared).await {
            // Under this key the line was another row.
            Err(refused) if shared && refused.kind == ProblemType::Conflict => {
                Err(ProblemType::IdempotencyMismatch.into())
            }
            outcome => outcome,
        }
    }
}

impl Outcome {
    fn note(&mut self, receipt: &Receipt<UserEvent>) {
        self.imported += 1;
        if let Some(last) = receipt.last {
            self.wrote(last);
        }
    }

    fn wrote(&mut self, position: Position) {
        let is_there =
            |it: &&mut Position| (it.stream, it.partition) == (position.stream, position.partition);
        match self.written.iter_mut().find(is_there) {
            Some(known) => known.offset = known.offset.max(position.offset),
            None => self.written.push(position),
        }
    }

    fn join(&mut self, other: Self) {
        self.imported += other.imported;
        self.rejected.extend(other.rejected);
        other
            .written
            .into_iter()
            .for_each(|position| self.wrote(position));
    }
}
