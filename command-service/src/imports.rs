//! Users in bulk: rows become registrations as everybody else's do, under claims on both names, many of them at a time.

pub mod lines;
mod mentions;
pub mod row;

use std::sync::Arc;
use std::time::Duration;

use event_log::{CommandContext, Done};
use futures::StreamExt as _;
use schemas::identifier::IdentifierKind;
use schemas::{BlindIndex, Idempotency, Position, UserId, WrappedKey};
use service_kit::problem::{Problem, ProblemType};
use tokio::task::JoinSet;

use crate::app::App;
use crate::imports::lines::Line;
use crate::imports::mentions::Mentions;
use crate::imports::row::Row;
use crate::names::{Claim, Registration};

/// Lines that go through the log together.
const CHUNK: usize = 2_000;
/// Chunks of one import on their way at once, while the next is prepared.
const CHUNKS: usize = 2;
/// Lines that wait for others of the same import, at once.
const SINGLE: usize = 64;
/// How long an import waits for what was imported before to be saved.
const SAVED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// What became of the lines of an import.
#[derive(Debug, Default)]
pub struct Outcome {
    pub imported: u64,
    /// Line and reason, in the order of the lines.
    pub rejected: Vec<(u64, Problem)>,
    /// What was written, by partition the last.
    pub written: Vec<Position>,
}

/// A line that is a user to be.
struct Ready {
    number: u64,
    registration: Registration,
}

impl App {
    /// Waits a while until what was imported before is saved, as far as it must: until then it fills the memory.
    pub async fn await_saved(&self) -> Result<(), Problem> {
        let is_saved = async {
            while self.bus.unsaved() > self.most_unsaved {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(SAVED, is_saved).await.map_err(|_| {
            let busy = Problem::new(ProblemType::Busy).retry_after(SAVED);
            busy.detail("what was imported before is not saved yet")
        })
    }

    /// Imports each line or rejects it whole. `context` is the call's; with an idempotency key a line that was
    /// imported under it before is found imported, and one that was rejected is tried anew.
    pub async fn import(
        self: &Arc<Self>,
        lines: Vec<Line>,
        context: CommandContext,
    ) -> Result<Outcome, Problem> {
        let app = Arc::clone(self);
        // A task of the service's own: a client that hangs up stops no line half way.
        let task = self
            .sagas
            .spawn(async move { app.import_lines(lines, context).await });
        task.await.map_err(|error| Problem::internal(&error))?
    }

    async fn import_lines(
        self: Arc<Self>,
        mut lines: Vec<Line>,
        context: CommandContext,
    ) -> Result<Outcome, Problem> {
        let (of_call, steps) = (context.idempotency, steps_of(context));
        let (mut outcome, mut mentions) = (Outcome::default(), Mentions::default());
        let (mut later, mut chunks) = (Vec::new(), JoinSet::new());
        while !lines.is_empty() {
            let rest = lines.split_off(lines.len().min(CHUNK));
            let chunk = std::mem::replace(&mut lines, rest);
            let app = Arc::clone(&self);
            // Milliseconds of pure computing.
            let prepared = tokio::task::spawn_blocking(move || app.prepare(chunk, of_call)).await;
            let (ready, rejected) = prepared.map_err(|error| Problem::internal(&error))?;
            outcome.rejected.extend(rejected);
            let (first, again) = mentions.split(ready, names_of);
            later.extend(again);
            while chunks.len() >= CHUNKS
                && let Some(ended) = chunks.join_next().await
            {
                outcome.join(ended.map_err(|error| Problem::internal(&error))?);
            }
            let (app, steps) = (Arc::clone(&self), steps.clone());
            chunks.spawn(async move { app.import_chunk(first, &steps).await });
        }
        while let Some(ended) = chunks.join_next().await {
            outcome.join(ended.map_err(|error| Problem::internal(&error))?);
        }
        outcome.join(self.import_later(later, &steps).await);
        outcome.rejected.sort_by_key(|(line, _)| *line);
        Ok(outcome)
    }

    fn prepare(&self, lines: Vec<Line>, of_call: Option<Idempotency>) -> (Vec<Ready>, Vec<(u64, Problem)>) {
        let (mut ready, mut rejected) = (Vec::with_capacity(lines.len()), Vec::new());
        for line in lines {
            match self.prepare_line(&line, of_call) {
                Ok(registration) => ready.push(Ready {
                    number: line.number,
                    registration,
                }),
                Err(problem) => rejected.push((line.number, problem)),
            }
        }
        (ready, rejected)
    }

    fn prepare_line(&self, line: &Line, of_call: Option<Idempotency>) -> Result<Registration, Problem> {
        let row = Row::parse(line)?;
        // The ids follow from the key, so that each step finds what was done; no user has to remember it.
        let of_line = of_call.map(|of_call| Idempotency {
            key_digest: self.index_key.digest(
                "import-line",
                &[&of_call.key_digest.0, &line.number.to_be_bytes()],
            ),
            request_digest: self.index_key.digest("import-row", &[&row.fingerprint()]),
        });
        let (registered, new_data_key) = row.registration(self, of_line)?;
        let claim = Claim {
            user: registered.user_id,
            id: registered.claim_id,
            names: vec![
                (IdentifierKind::Email, registered.email_index),
                (IdentifierKind::Username, registered.username_index),
            ],
            shared: of_line.is_some(),
        };
        Ok(Registration {
            claim,
            registered,
            new_data_key,
        })
    }

    async fn import_chunk(&self, chunk: Vec<Ready>, context: &CommandContext) -> Outcome {
        let (mut outcome, mut about) = (Outcome::default(), Vec::with_capacity(chunk.len()));
        let mut registrations = Vec::with_capacity(chunk.len());
        for Ready { number, registration } in chunk {
            about.push(About::of(number, &registration));
            registrations.push(registration);
        }
        let ended = self.names.register_all(registrations, context).await;
        for (about, ended) in about.into_iter().zip(ended) {
            self.note(about, ended, &mut outcome);
        }
        outcome
    }

    /// Lines with a name of an earlier line: whether that is taken is known now.
    async fn import_later(&self, later: Vec<Ready>, context: &CommandContext) -> Outcome {
        let ended = later.into_iter().map(async |Ready { number, registration }| {
            let about = About::of(number, &registration);
            (about, self.names.register_one(registration, context).await)
        });
        let mut ended = futures::stream::iter(ended).buffered(SINGLE);
        let mut outcome = Outcome::default();
        while let Some((about, ended)) = ended.next().await {
            self.note(about, ended, &mut outcome);
        }
        outcome
    }

    fn note(&self, about: About, ended: Result<Done, Problem>, outcome: &mut Outcome) {
        match ended {
            Ok(done) => {
                outcome.imported += 1;
                done.last.into_iter().for_each(|last| outcome.wrote(last));
                if done.is_new {
                    self.keys.insert(about.user, about.wrapped);
                }
            }
            Err(problem) => outcome.rejected.push((about.number, problem)),
        }
    }
}

/// What is still needed of a line when it has ended.
struct About {
    number: u64,
    user: UserId,
    wrapped: WrappedKey,
}

impl About {
    fn of(number: u64, registration: &Registration) -> Self {
        Self {
            number,
            user: registration.claim.user,
            wrapped: registration.new_data_key.wrapped.clone(),
        }
    }
}

fn names_of(ready: &Ready) -> [BlindIndex; 2] {
    let registered = &ready.registration.registered;
    [registered.email_index, registered.username_index]
}

fn steps_of(context: CommandContext) -> CommandContext {
    CommandContext {
        idempotency: None,
        new_data_key: None,
        ..context
    }
}

impl Outcome {
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
