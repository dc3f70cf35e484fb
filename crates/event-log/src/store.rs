//! cqrs-es on the ledgers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};

use crate::aggregate::LedgerAggregate;
use crate::entry::{CommandContext, Entry, NewDataKey, Receipt, Recorded};
use crate::group_log::{Append, AppendError, Reply};
use crate::waiting::Work;

/// The event store of one command: the locked aggregate, and the way to its ledger's writer.
///
/// One command has one store, as the lock on its aggregate lasts from loading to committed.
pub struct KafkaEventStore<A: LedgerAggregate> {
    entry: Mutex<Option<OwnedMutexGuard<Entry<A>>>>,
    partition: i32,
    work: mpsc::Sender<Work>,
    context: Arc<CommandContext>,
    new_data_key: Option<NewDataKey>,
    deadline: Instant,
    receipt: Mutex<Option<Receipt<A::Event>>>,
}

/// An aggregate loaded for one command.
pub struct Loaded<A: LedgerAggregate> {
    id: String,
    aggregate: A,
    entry: OwnedMutexGuard<Entry<A>>,
}

impl<A: LedgerAggregate> AggregateContext<A> for Loaded<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A: LedgerAggregate> KafkaEventStore<A> {
    pub(crate) fn new(
        entry: OwnedMutexGuard<Entry<A>>,
        partition: i32,
        work: mpsc::Sender<Work>,
        mut context: CommandContext,
        deadline: Instant,
    ) -> Self {
        Self {
            new_data_key: context.new_data_key.take(),
            entry: Mutex::new(Some(entry)),
            partition,
            work,
            context: Arc::new(context),
            deadline,
            receipt: Mutex::new(None),
        }
    }

    /// What the command came to, once committed.
    pub(crate) fn take_receipt(&self) -> Option<Receipt<A::Event>> {
        self.receipt.lock().take()
    }
}

impl<A: LedgerAggregate> EventStore<A> for &KafkaEventStore<A> {
    type AC = Loaded<A>;

    /// Not used by the framework for deciding; memory holds states, not histories.
    async fn load_events(&self, _: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        Err(unexpected(AppendError::NotOwner))
    }

    async fn load_aggregate(&self, id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        let entry = self
            .entry
            .lock()
            .take()
            .ok_or_else(|| unexpected(AppendError::NotOwner))?;
        Ok(Loaded {
            id: id.to_owned(),
            aggregate: entry.aggregate.clone(),
            entry,
        })
    }

    /// Waits for the ledger's next transaction. With no events it still asks the writer, who
    /// proves that it owns the ledger: an answer from the memory of a replaced owner would be wrong.
    async fn commit(
        &self,
        events: Vec<A::Event>,
        mut context: Loaded<A>,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let (reply, outcome) = oneshot::channel();
        let append = Append {
            stream: A::STREAM,
            partition: self.partition,
            aggregate_id: context.id.clone(),
            version: Arc::clone(&context.entry.version),
            expected: context.entry.sequence,
            events: events.iter().cloned().map(A::wrap).collect(),
            heartbeat: false,
            is_joined: false,
            context: Arc::clone(&self.context),
            new_data_key: self.new_data_key.clone(),
            deadline: self.deadline,
            reply: Reply::One(reply),
        };
        // Room that does not come in time: certainly nothing was written.
        match tokio::time::timeout_at(self.deadline.into(), self.work.send(Work::one(append))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(unexpected(AppendError::NotOwner)),
            Err(_) => return Err(unexpected(AppendError::Expired)),
        }
        let placed = outcome
            .await
            .map_err(|_| unexpected(AppendError::OutcomeUnknown))?
            .map_err(unexpected)?;
        let records: Vec<Recorded<A::Event>> = placed
            .into_iter()
            .zip(events)
            .map(|((meta, position), event)| Recorded {
                meta,
                event,
                position,
            })
            .collect();
        context.entry.committed(context.aggregate, records.clone());
        let envelopes = records
            .iter()
            .map(|record| EventEnvelope {
                aggregate_id: record.meta.aggregate_id.clone(),
                sequence: usize::try_from(record.meta.sequence).unwrap_or(usize::MAX),
                payload: record.event.clone(),
                metadata: HashMap::new(),
            })
            .collect();
        *self.receipt.lock() = Some(Receipt {
            records,
            replayed: false,
            last: context.entry.last,
        });
        Ok(envelopes)
    }
}

fn unexpected<E: std::error::Error>(error: AppendError) -> AggregateError<E> {
    AggregateError::UnexpectedError(Box::new(error))
}
