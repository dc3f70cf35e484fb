//! Several aggregates changed in one transaction: a saga whose ledgers have one writer takes its steps at once.
//!
//! It is a shorter way and no other protocol: the events are those of the steps taken singly, and whoever reads the log
//! may see any of them first. Ledgers of different writers have no transaction in common, so each saga can go the long way too.

use std::sync::Arc;
use std::time::Instant;

use domain::decider::Context;
use schemas::{Event, Timestamp};
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::aggregate::LedgerAggregate;
use crate::bulk::{run, unkeyed};
use crate::bus::{Bus, BusError, SETTLE, patience};
use crate::entry::{CommandContext, Entry, Receipt, Recorded};
use crate::group_log::{Append, AppendError, Outcome, Placed, Reply};
use crate::here::{Owner, from_append};
use crate::waiting::Work;

/// Commands to one aggregate, each decided on what those before it came to.
pub struct Steps<C> {
    pub id: String,
    pub commands: Vec<C>,
}

/// What was decided on an aggregate, which is locked until that is in the log.
struct Decided<A: LedgerAggregate> {
    id: String,
    owner: Owner,
    entry: OwnedMutexGuard<Entry<A>>,
    state: A,
    events: Vec<Event>,
}

impl Bus {
    /// Whether the ledgers of these two aggregates are served here by one writer.
    pub fn have_one_writer<A: LedgerAggregate, B: LedgerAggregate>(&self, a: &str, b: &str) -> bool {
        let (a, b) = (self.partition_of::<A>(a), self.partition_of::<B>(b));
        let owners = self.owner::<A>(a).zip(self.owner::<B>(b));
        owners.is_some_and(|(a, b)| Arc::ptr_eq(&a.group, &b.group))
    }

    /// Runs a command as [`Self::execute`] does, and in the same transaction the steps of other aggregates, no two of them
    /// the same.
    ///
    /// `None`: nothing was done. So where there is no common writer here, an aggregate is in use or not in memory, and
    /// where one refuses: a refusal needs a proof, which those who are asked singly give.
    pub async fn execute_with<A: LedgerAggregate, B: LedgerAggregate>(
        &self,
        first: Vec<Steps<B::Command>>,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Option<Result<Receipt<A::Event>, BusError<A::Error>>> {
        let (bus, id, deadline) = (self.clone(), id.to_owned(), patience::deadline());
        let task = self.spawn(async move {
            let command = Steps {
                id: id.clone(),
                commands: vec![command],
            };
            let ids: Vec<String> = first.iter().map(|steps| steps.id.clone()).collect();
            let outcome = bus.try_together::<A, B>(first, command, context, deadline).await;
            bus.forget_unborn::<A>(&id);
            ids.iter().for_each(|id| bus.forget_unborn::<B>(id));
            outcome
        });
        match tokio::time::timeout_at((deadline + SETTLE).into(), task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Some(Err(BusError::Internal(error.to_string()))),
            // The task goes on holding the aggregates until the log has told; only the caller leaves.
            Err(_) => Some(Err(BusError::OutcomeUnknown)),
        }
    }

    async fn try_together<A: LedgerAggregate, B: LedgerAggregate>(
        &self,
        first: Vec<Steps<B::Command>>,
        command: Steps<A::Command>,
        mut context: CommandContext,
        deadline: Instant,
    ) -> Option<Result<Receipt<A::Event>, BusError<A::Error>>> {
        let now = Timestamp::now();
        let mut others = Vec::with_capacity(first.len());
        for steps in first {
            others.push(self.decided::<B>(steps, now).await?);
        }
        let main = self.decided::<A>(command, now).await?;
        let group = Arc::clone(&main.owner.group);
        let is_apart = others.iter().any(|it| !Arc::ptr_eq(&it.owner.group, &group));
        let is_repeated = |key| !matches!(main.entry.find(key, now), Ok(None));
        // Of what has nothing to write, no transaction tells afterwards whether it was part of it.
        let is_idle = main.events.is_empty() || others.iter().any(|it| it.events.is_empty());
        if is_apart || is_idle || context.idempotency.as_ref().is_some_and(is_repeated) {
            return None;
        }
        let (replies, outcomes) = mpsc::channel(others.len() + 1);
        let of_others = Arc::new(unkeyed(&context));
        let data_key = context.new_data_key.take();
        let mut appends: Vec<Append> = others
            .iter()
            .enumerate()
            .map(|(place, it)| it.append(&of_others, deadline, Reply::OfMany(place, replies.clone())))
            .collect();
        let reply = Reply::OfMany(others.len(), replies);
        appends.push(Append {
            new_data_key: data_key,
            is_joined: false,
            ..main.append(&Arc::new(context), deadline, reply)
        });
        // The group may have been given up meanwhile, and what was decided on is what a former owner knew.
        let work = group.work();
        let is_sent = group.is_serving() && {
            let sent = work.send(Work::Together(appends));
            matches!(tokio::time::timeout_at(deadline.into(), sent).await, Ok(Ok(())))
        };
        if !is_sent {
            return None;
        }
        match received(outcomes, others.len() + 1).await {
            Ok(mut placed) => {
                let of_main = placed.pop().unwrap_or_default();
                others.into_iter().zip(placed).for_each(|(it, placed)| {
                    it.committed(placed);
                });
                Some(Ok(main.committed(of_main)))
            }
            Err(error) => match from_append(error) {
                error if error.is_between_owners() => None,
                error => Some(Err(error)),
            },
        }
    }

    /// `None` where the aggregate is not at rest in memory here, or refuses.
    async fn decided<A: LedgerAggregate>(
        &self,
        steps: Steps<A::Command>,
        now: Timestamp,
    ) -> Option<Decided<A>> {
        let owner = self.owner::<A>(self.partition_of::<A>(&steps.id))?;
        // Waiting for one's turn while one holds what others wait for is how two would wait for ever.
        let entry = A::map(&owner.ledger).entry(&steps.id).try_lock_owned().ok()?;
        if entry.is_absent() {
            return None;
        }
        let (mut state, mut events) = (entry.aggregate.clone(), Vec::new());
        for command in steps.commands {
            let (after, decided) = run(&state, command, &Context { now }).await;
            state = after.ok()?;
            events.extend(decided);
        }
        Some(Decided {
            id: steps.id,
            owner,
            entry,
            state,
            events,
        })
    }

    fn forget_unborn<A: LedgerAggregate>(&self, id: &str) {
        if let Some(owner) = self.owner::<A>(self.partition_of::<A>(id)) {
            A::map(&owner.ledger).forget_unborn(id);
        }
    }
}

impl<A: LedgerAggregate> Decided<A> {
    /// Goes with the next.
    fn append(&self, context: &Arc<CommandContext>, deadline: Instant, reply: Reply) -> Append {
        Append {
            stream: A::STREAM,
            partition: self.owner.partition,
            aggregate_id: self.id.clone(),
            version: Arc::clone(&self.entry.version),
            expected: self.entry.sequence,
            events: self.events.clone(),
            heartbeat: false,
            is_joined: true,
            context: Arc::clone(context),
            new_data_key: None,
            deadline,
            reply,
        }
    }

    /// Takes in what the log has now.
    fn committed(mut self, placed: Placed) -> Receipt<A::Event> {
        let recorded = placed.into_iter().zip(self.events);
        let records: Vec<_> = recorded
            .filter_map(|((meta, position), event)| {
                let event = A::unwrap(event)?;
                Some(Recorded {
                    meta,
                    event,
                    position,
                })
            })
            .collect();
        self.entry.committed(self.state, records.clone());
        Receipt {
            records,
            replayed: false,
            last: self.entry.last,
        }
    }
}

/// Where all of them stand, in their order. They are in the log together or not at all, so a part of them alone is a
/// contradiction, and nothing is known.
async fn received(
    mut outcomes: mpsc::Receiver<(usize, Outcome)>,
    count: usize,
) -> Result<Vec<Placed>, AppendError> {
    let mut placed = vec![None; count];
    let mut refused = Vec::new();
    while let Some((place, outcome)) = outcomes.recv().await {
        match (outcome, placed.get_mut(place)) {
            (Ok(found), Some(slot)) => *slot = Some(found),
            (Err(error), _) => refused.push(error),
            (Ok(_), None) => {}
        }
    }
    let known: Option<Vec<_>> = placed.iter().cloned().collect();
    if let Some(all) = known {
        return Ok(all);
    }
    let is_one_refusal = refused.len() == count && refused.windows(2).all(|pair| pair[0] == pair[1]);
    Err(match refused.pop() {
        Some(error) if is_one_refusal => error,
        _ => AppendError::OutcomeUnknown,
    })
}
