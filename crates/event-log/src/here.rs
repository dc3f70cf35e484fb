//! Answering at the owner of the ledger: this process.

use std::sync::Arc;
use std::time::Instant;

use cqrs_es::{AggregateError, CqrsFramework};
use domain::decider::Context;
use schemas::{Idempotency, RequestId, Timestamp};
use tokio::sync::oneshot;

use crate::aggregate::LedgerAggregate;
use crate::bus::{BusError, SETTLE};
use crate::entry::{CommandContext, Entry, Receipt};
use crate::forward::{Answer, Ask, Inspected, Reply};
use crate::group::Group;
use crate::group_log::{self, Append, AppendError};
use crate::ledger::Ledger;
use crate::store::KafkaEventStore;
use crate::waiting::Work;

/// Commands that wait for one aggregate at most, each for its turn.
const WAITING: usize = 512;

/// A serving group and one of its ledgers.
pub(crate) struct Owner {
    pub group: Arc<Group>,
    pub ledger: Arc<Ledger>,
    pub partition: i32,
}

impl Owner {
    pub(crate) async fn answer<A: LedgerAggregate>(
        &self,
        id: &str,
        ask: Ask<A::Command>,
        deadline: Instant,
    ) -> Answer<A> {
        match ask {
            Ask::Execute { command, context } => {
                let outcome = self.execute::<A>(id, command, *context, deadline).await;
                A::map(&self.ledger).forget_unborn(id);
                outcome.map(Reply::Receipt)
            }
            Ask::Replayed(idempotency) => {
                let found = self.replayed::<A>(id, &idempotency, deadline).await?;
                Ok(Reply::Replayed(found))
            }
            Ask::Inspect { proven } => {
                let found = self.inspect::<A>(id, deadline).await?;
                if proven {
                    self.prove::<A>(id, deadline).await?;
                }
                Ok(Reply::Inspected(found))
            }
        }
    }

    async fn execute<A: LedgerAggregate>(
        &self,
        id: &str,
        command: A::Command,
        context: CommandContext,
        deadline: Instant,
    ) -> Result<Receipt<A::Event>, BusError<A::Error>> {
        let entry = A::map(&self.ledger).entry(id);
        if Arc::strong_count(&entry) > WAITING {
            return Err(BusError::Busy);
        }
        let mut entry = match tokio::time::timeout_at(deadline.into(), entry.lock_owned()).await {
            Ok(entry) => entry,
            // Whoever holds it may be this command's own first try.
            Err(_) if context.idempotency.is_some() => return Err(BusError::OutcomeUnknown),
            Err(_) => return Err(BusError::NotApplied),
        };
        // The group may have been given up while this waited for its turn.
        if !self.group.is_serving() {
            return Err(BusError::Unavailable);
        }
        self.fill::<A>(id, &mut entry, deadline).await?;
        if let Some(idempotency) = &context.idempotency
            && let Some(receipt) = entry
                .find(idempotency, Timestamp::now())
                .map_err(|_| BusError::KeyReused)?
        {
            return Ok(receipt);
        }
        let store = KafkaEventStore::<A>::new(entry, self.partition, self.group.work(), context, deadline);
        let decide_at = Context {
            now: Timestamp::now(),
        };
        let framework = CqrsFramework::<A, _>::new(&store, Vec::new(), decide_at);
        match framework.execute(id, command).await {
            Ok(()) => store.take_receipt().ok_or(BusError::OutcomeUnknown),
            // cqrs-es commits nothing where the aggregate refuses, yet a refusal must be as true.
            Err(AggregateError::UserError(refusal)) => {
                self.prove::<A>(id, deadline).await?;
                Err(BusError::Refused(refusal))
            }
            Err(AggregateError::UnexpectedError(error)) => Err(match error.downcast::<AppendError>() {
                Ok(error) => from_append(*error),
                Err(error) => BusError::Internal(error.to_string()),
            }),
            Err(error) => Err(BusError::Internal(error.to_string())),
        }
    }

    async fn replayed<A: LedgerAggregate>(
        &self,
        id: &str,
        idempotency: &Idempotency,
        deadline: Instant,
    ) -> Result<Option<Receipt<A::Event>>, BusError<A::Error>> {
        let Some(entry) = A::map(&self.ledger).existing(id) else {
            return Ok(None);
        };
        let mut entry = tokio::time::timeout_at(deadline.into(), entry.lock())
            .await
            .map_err(|_| BusError::Busy)?;
        self.fill::<A>(id, &mut entry, deadline).await?;
        entry
            .find(idempotency, Timestamp::now())
            .map_err(|_| BusError::KeyReused)
    }

    async fn inspect<A: LedgerAggregate>(
        &self,
        id: &str,
        deadline: Instant,
    ) -> Result<Inspected<A>, BusError<A::Error>> {
        let Some(entry) = A::map(&self.ledger).existing(id) else {
            return Ok(Inspected {
                aggregate: A::default(),
                sequence: 0,
                last: None,
            });
        };
        let mut entry = tokio::time::timeout_at(deadline.into(), entry.lock())
            .await
            .map_err(|_| BusError::Busy)?;
        self.fill::<A>(id, &mut entry, deadline).await?;
        Ok(Inspected {
            aggregate: entry.aggregate.clone(),
            sequence: entry.sequence,
            last: entry.last,
        })
    }

    /// Brings the aggregate's state into memory, if it is not there.
    async fn fill<A: LedgerAggregate>(
        &self,
        id: &str,
        entry: &mut Entry<A>,
        deadline: Instant,
    ) -> Result<(), BusError<A::Error>> {
        let (Some(snapshots), Some(sequences)) = (self.group.snapshots(), entry.absence()) else {
            return Ok(());
        };
        let filled = snapshots.fill((A::STREAM, self.partition), id, entry, sequences);
        match tokio::time::timeout_at(deadline.into(), filled).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!("An aggregate that is not in memory cannot be had: {error}");
                Err(BusError::Unavailable)
            }
            Err(_) => Err(BusError::Unavailable),
        }
    }

    /// Shows that the group still has its owner: an append of nothing, which its writer answers only
    /// while no record of another can stand behind its own last.
    async fn prove<A: LedgerAggregate>(&self, id: &str, deadline: Instant) -> Result<(), BusError<A::Error>> {
        let (reply, outcome) = oneshot::channel();
        let nothing = Append {
            stream: A::STREAM,
            partition: self.partition,
            aggregate_id: id.to_owned(),
            version: Arc::default(),
            expected: 0,
            events: Vec::new(),
            heartbeat: false,
            is_joined: false,
            context: Arc::new(CommandContext::system(RequestId::new_v7())),
            new_data_key: None,
            deadline,
            reply: group_log::Reply::One(reply),
        };
        match tokio::time::timeout_at(deadline.into(), self.group.work().send(Work::one(nothing))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(BusError::Unavailable),
            Err(_) => return Err(BusError::NotApplied),
        }
        // Nothing is written, so that giving up is certain.
        let waited = tokio::time::timeout_at((deadline + SETTLE).into(), outcome).await;
        let proven = waited.map_or(Err(AppendError::Expired), |it| {
            it.unwrap_or(Err(AppendError::NotApplied))
        });
        proven.map(drop).map_err(from_append)
    }
}

pub(crate) fn from_append<E>(error: AppendError) -> BusError<E> {
    match error {
        AppendError::NotApplied | AppendError::Expired => BusError::NotApplied,
        AppendError::OutcomeUnknown => BusError::OutcomeUnknown,
        AppendError::NotOwner => BusError::Unavailable,
        AppendError::Encoding(message) => BusError::Internal(message),
    }
}
