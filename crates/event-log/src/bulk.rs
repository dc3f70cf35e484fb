//! Many commands at once, each to an aggregate of its own.
//!
//! Aggregates that are at rest in the memory of their owner are decided and committed together: the commands of a group go to
//! its writer in a few parcels, which fill its transactions behind what single commands need. An owner elsewhere gets
//! its commands in a few calls. What is not at rest, or is between owners, goes the way of single commands: [`Bus::execute`].

mod elsewhere;
mod share;

use std::sync::Arc;
use std::time::Instant;

use cqrs_es::Aggregate;
use futures::StreamExt as _;
use futures::future::join_all;
use schemas::Position;
use serde::{Deserialize, Serialize};

use crate::aggregate::LedgerAggregate;
use crate::bus::{Bus, BusError, patience, within_one_deadline};
use crate::entry::{CommandContext, NewDataKey, Receipt};
use crate::forward::{Answer, Ask, Reply};
use crate::group::Group;
use crate::owners::Instance;
pub(crate) use elsewhere::InboundMany;
use share::Share;
pub(crate) use share::run;

/// Commands of one call that are on their way one by one.
const SINGLE: usize = 256;

/// One of many commands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order<C> {
    pub id: String,
    /// Doing it twice must be doing it once: whose answer is lost is asked again.
    pub command: C,
    /// A new user's, stored with the first event.
    pub new_data_key: Option<NewDataKey>,
}

/// What one of many commands came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Of the aggregate's last event.
    pub last: Option<Position>,
    /// Whether this command recorded it.
    pub is_new: bool,
}

impl<E> From<Receipt<E>> for Done {
    fn from(receipt: Receipt<E>) -> Self {
        Self {
            last: receipt.last,
            is_new: !receipt.records.is_empty() && !receipt.replayed,
        }
    }
}

pub(crate) type Outcome<A> = Result<Done, BusError<<A as Aggregate>::Error>>;

/// An order of `A`, by its place among those that came with it.
pub(crate) type Placed<A> = (usize, Order<<A as Aggregate>::Command>);

/// How far many commands came together.
pub(crate) struct Settled<A: Aggregate> {
    pub done: Vec<(usize, Outcome<A>)>,
    /// Of these nothing was done, or what was done bears repeating.
    pub left: Vec<Placed<A>>,
}

impl<A: Aggregate> Default for Settled<A> {
    fn default() -> Self {
        Self {
            done: Vec::new(),
            left: Vec::new(),
        }
    }
}

impl<A: Aggregate> Settled<A> {
    fn join(&mut self, other: Self) {
        self.done.extend(other.done);
        self.left.extend(other.left);
    }
}

/// Who does which of many commands.
struct Routed<A: LedgerAggregate> {
    here: Vec<Share<A>>,
    elsewhere: Vec<(Instance, Vec<Placed<A>>)>,
    nowhere: Vec<Placed<A>>,
}

impl Bus {
    /// Runs each command as [`Self::execute`] would and gives their outcomes in the same order. No two must be to one
    /// aggregate if it matters which comes first. `context` is that of all; an idempotency key in it is not
    /// remembered.
    ///
    /// The commands are finished whether or not anybody waits for them.
    pub async fn execute_all<A: LedgerAggregate>(
        &self,
        orders: Vec<Order<A::Command>>,
        context: &CommandContext,
    ) -> Vec<Result<Done, BusError<A::Error>>> {
        let count = orders.len();
        let (bus, context) = (self.clone(), Arc::new(unkeyed(context)));
        let task = self.spawn(async move {
            let mut settled = bus.settle_together::<A>(orders, &context).await;
            let left = std::mem::take(&mut settled.left);
            let singly = left.into_iter().map(async |(place, order)| {
                let (command, context) = (order.command, with_key(&context, order.new_data_key));
                let done = bus.execute::<A>(&order.id, command, context).await;
                (place, done.map(Done::from))
            });
            let singly = futures::stream::iter(singly).buffer_unordered(SINGLE);
            let singly: Vec<_> = within_one_deadline(singly.collect()).await;
            settled.done.into_iter().chain(singly).collect()
        });
        in_order(count, task.await.unwrap_or_default())
    }

    async fn settle_together<A: LedgerAggregate>(
        &self,
        orders: Vec<Order<A::Command>>,
        context: &Arc<CommandContext>,
    ) -> Settled<A> {
        let deadline = patience::deadline();
        let routed = self.routed::<A>(orders);
        let here = self.settle_here(routed.here, context, deadline);
        let elsewhere = self.settle_elsewhere::<A>(routed.elsewhere, context, deadline);
        let (mut settled, elsewhere) = futures::join!(here, elsewhere);
        settled.join(elsewhere);
        settled.left.extend(routed.nowhere);
        settled
    }

    async fn settle_here<A: LedgerAggregate>(
        &self,
        shares: Vec<Share<A>>,
        context: &Arc<CommandContext>,
        deadline: Instant,
    ) -> Settled<A> {
        // A task for each group, so that all cores decide.
        let running = shares.into_iter().map(|share| {
            let context = Arc::clone(context);
            self.spawn(async move { share.settle(&context, deadline).await })
        });
        let mut settled = Settled::default();
        for ended in join_all(running).await {
            match ended {
                Ok(share) => settled.join(share),
                Err(error) => tracing::error!(%error, "A part of many commands failed"),
            }
        }
        settled
    }

    /// What another instance sent here; it is never passed on.
    pub(crate) async fn answer_all_here<A: LedgerAggregate>(
        &self,
        orders: Vec<Order<A::Command>>,
        context: CommandContext,
        deadline: Instant,
    ) -> Vec<Outcome<A>> {
        let (count, context) = (orders.len(), Arc::new(unkeyed(&context)));
        let routed = self.routed::<A>(orders);
        let mut settled = self.settle_here(routed.here, &context, deadline).await;
        let singly = settled.left.drain(..).map(async |(place, order)| {
            let (command, context) = (order.command, Box::new(with_key(&context, order.new_data_key)));
            let ask = Ask::Execute { command, context };
            (
                place,
                done::<A>(self.answer_here::<A>(order.id, ask, deadline).await),
            )
        });
        let singly = futures::stream::iter(singly).buffer_unordered(SINGLE);
        let singly: Vec<_> = singly.collect().await;
        settled.done.extend(singly);
        let not_owned = routed.elsewhere.into_iter().flat_map(|(_, orders)| orders);
        let not_owned = not_owned.chain(routed.nowhere);
        settled
            .done
            .extend(not_owned.map(|(place, _)| (place, Err(BusError::Unavailable))));
        in_order(count, settled.done)
    }

    fn routed<A: LedgerAggregate>(&self, orders: Vec<Order<A::Command>>) -> Routed<A> {
        let mut routed = Routed {
            here: Vec::<Share<A>>::new(),
            elsewhere: Vec::new(),
            nowhere: Vec::new(),
        };
        for (place, order) in orders.into_iter().enumerate() {
            let partition = self.partition_of::<A>(&order.id);
            if let Some(owner) = self.owner::<A>(partition) {
                let is_its = |share: &&mut Share<A>| Arc::ptr_eq(&share.group, &owner.group);
                match routed.here.iter_mut().find(is_its) {
                    Some(share) => share.add(owner, place, order),
                    None => {
                        let mut share = Share::of(Arc::<Group>::clone(&owner.group));
                        share.add(owner, place, order);
                        routed.here.push(share);
                    }
                }
            } else if let Some((_, instance)) = self.elsewhere::<A>(partition) {
                match routed.elsewhere.iter_mut().find(|(it, _)| it.id == instance.id) {
                    Some((_, orders)) => orders.push((place, order)),
                    None => routed.elsewhere.push((instance, vec![(place, order)])),
                }
            } else {
                routed.nowhere.push((place, order));
            }
        }
        routed
    }
}

/// Each is repeated by what it says, not by a key.
pub(crate) fn unkeyed(context: &CommandContext) -> CommandContext {
    CommandContext {
        idempotency: None,
        new_data_key: None,
        ..context.clone()
    }
}

fn with_key(context: &CommandContext, new_data_key: Option<NewDataKey>) -> CommandContext {
    CommandContext {
        new_data_key,
        ..context.clone()
    }
}

fn done<A: LedgerAggregate>(answer: Answer<A>) -> Outcome<A> {
    match answer? {
        Reply::Receipt(receipt) => Ok(receipt.into()),
        Reply::Replayed(_) | Reply::Inspected(_) => Err(BusError::Internal(
            "the owner answered another question".to_owned(),
        )),
    }
}

/// What is missing may have been done.
fn in_order<E>(
    count: usize,
    done: Vec<(usize, Result<Done, BusError<E>>)>,
) -> Vec<Result<Done, BusError<E>>> {
    let mut outcomes: Vec<_> = (0..count).map(|_| Err(BusError::OutcomeUnknown)).collect();
    for (place, outcome) in done {
        if let Some(slot) = outcomes.get_mut(place) {
            *slot = outcome;
        }
    }
    outcomes
}
