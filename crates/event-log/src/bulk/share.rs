//! What one group here does of many commands: locked, decided, committed, taken into memory.

use std::sync::Arc;
use std::time::Instant;

use cqrs_es::event_sink::EventSink;
use domain::decider::Context;
use schemas::{Event, Timestamp};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::{Done, Order, Outcome, Placed, Settled};
use crate::aggregate::LedgerAggregate;
use crate::bus::BusError;
use crate::entry::{CommandContext, Entry};
use crate::group::Group;
use crate::group_log::{self, Append};
use crate::here::{Owner, from_append};
use crate::ledger::Ledger;
use crate::waiting::Work;

/// Commands decided at once: the next are decided while the writer commits these.
const PARCEL: usize = 512;

/// Commands to the ledgers of one group.
pub(crate) struct Share<A: LedgerAggregate> {
    pub group: Arc<Group>,
    orders: Vec<(Arc<Ledger>, i32, Placed<A>)>,
}

/// A command that is decided and waits for its transaction.
struct Decided<A: LedgerAggregate> {
    placed: Placed<A>,
    ledger: Arc<Ledger>,
    /// Locked until what was decided on it is committed.
    entry: OwnedMutexGuard<Entry<A>>,
    /// The state afterwards, or why not.
    state: Result<A, A::Error>,
}

/// Commands on their way to the log together.
struct Parcel<A: LedgerAggregate> {
    decided: Vec<Option<Decided<A>>>,
    outcomes: mpsc::Receiver<(usize, group_log::Outcome)>,
}

impl<A: LedgerAggregate> Share<A> {
    pub(super) const fn of(group: Arc<Group>) -> Self {
        Self {
            group,
            orders: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, owner: Owner, place: usize, order: Order<A::Command>) {
        self.orders.push((owner.ledger, owner.partition, (place, order)));
    }

    pub(super) async fn settle(mut self, context: &Arc<CommandContext>, deadline: Instant) -> Settled<A> {
        let mut settled = Settled::default();
        let mut parcels = Vec::with_capacity(self.orders.len().div_ceil(PARCEL));
        let mut orders = std::mem::take(&mut self.orders).into_iter();
        let work = self.group.work();
        while orders.len() > 0 {
            let next = orders.by_ref().take(PARCEL);
            let (parcel, appends) = decide(next, context, deadline, &mut settled.left).await;
            // What waited for its lock may be decided on what a former owner knew.
            let is_sent = self.group.is_serving() && {
                let sent = work.send(Work::Many(appends));
                matches!(tokio::time::timeout_at(deadline.into(), sent).await, Ok(Ok(())))
            };
            if is_sent {
                parcels.push(parcel);
            } else {
                let left = parcel.decided.into_iter().flatten();
                settled.left.extend(left.map(|decided| decided.placed));
            }
        }
        for parcel in parcels {
            parcel.settle(&mut settled).await;
        }
        settled
    }
}

/// Decides each command whose aggregate is at rest in memory. `left` gets the others.
async fn decide<A: LedgerAggregate>(
    orders: impl ExactSizeIterator<Item = (Arc<Ledger>, i32, Placed<A>)>,
    context: &Arc<CommandContext>,
    deadline: Instant,
    left: &mut Vec<Placed<A>>,
) -> (Parcel<A>, Vec<Append>) {
    let (replies, outcomes) = mpsc::channel(orders.len().max(1));
    let mut decided = Vec::with_capacity(orders.len());
    let mut appends = Vec::with_capacity(orders.len());
    let at = Context {
        now: Timestamp::now(),
    };
    for (ledger, partition, (place, order)) in orders {
        // Waiting for one's turn while one holds what others wait for is how two would wait for ever.
        let entry = A::map(&ledger).entry(&order.id).try_lock_owned();
        let Some(entry) = entry.ok().filter(|entry| !entry.is_absent()) else {
            left.push((place, order));
            continue;
        };
        let (state, events) = run(&entry.aggregate, order.command.clone(), &at).await;
        appends.push(Append {
            stream: A::STREAM,
            partition,
            aggregate_id: order.id.clone(),
            version: Arc::clone(&entry.version),
            expected: entry.sequence,
            events,
            heartbeat: false,
            is_joined: false,
            context: Arc::clone(context),
            new_data_key: order.new_data_key.clone(),
            deadline,
            reply: group_log::Reply::OfMany(decided.len(), replies.clone()),
        });
        decided.push(Some(Decided {
            placed: (place, order),
            ledger,
            entry,
            state,
        }));
    }
    (Parcel { decided, outcomes }, appends)
}

/// As `CqrsFramework` does it, between loading and committing.
pub(crate) async fn run<A: LedgerAggregate>(
    state: &A,
    command: A::Command,
    at: &Context,
) -> (Result<A, A::Error>, Vec<Event>) {
    let (mut state, sink) = (state.clone(), EventSink::default());
    match state.handle(command, at, &sink).await {
        Ok(()) => {
            let events = sink.collect().await.into_iter().map(A::wrap).collect();
            (Ok(state), events)
        }
        // A refusal is as true as anything else: it waits for the proof that the owner still is one.
        Err(refusal) => (Err(refusal), Vec::new()),
    }
}

impl<A: LedgerAggregate> Parcel<A> {
    async fn settle(mut self, settled: &mut Settled<A>) {
        while let Some((index, outcome)) = self.outcomes.recv().await {
            let decided = self.decided.get_mut(index).and_then(Option::take);
            let Some(decided) = decided else { continue };
            match decided.settle(outcome) {
                (place, Ok(outcome)) => settled.done.push((place, outcome)),
                (place, Err(order)) => settled.left.push((place, order)),
            }
        }
        // What has no outcome was let go by the writer: `super::in_order` calls it unknown.
    }
}

impl<A: LedgerAggregate> Decided<A> {
    /// The outcome, or the order where another owner may do better.
    fn settle(mut self, outcome: group_log::Outcome) -> (usize, Result<Outcome<A>, Order<A::Command>>) {
        let (place, order) = self.placed;
        let committed = match outcome {
            Ok(placed) => placed,
            Err(error) => {
                let error = from_append(error);
                return match error.is_between_owners() {
                    true => (place, Err(order)),
                    false => (place, Ok(Err(error))),
                };
            }
        };
        let outcome = match (self.state, committed.last()) {
            (Ok(state), Some((meta, position))) => {
                self.entry.committed_unkeyed(state, meta, *position);
                Ok(Done {
                    last: self.entry.last,
                    is_new: true,
                })
            }
            (Ok(_), None) => Ok(Done {
                last: self.entry.last,
                is_new: false,
            }),
            (Err(refusal), _) => Err(BusError::Refused(refusal)),
        };
        if self.entry.is_unborn() {
            drop(self.entry);
            A::map(&self.ledger).forget_unborn(&order.id);
        }
        (place, Ok(outcome))
    }
}
