//! What another instance does of many commands.

use std::time::Instant;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{Order, Outcome, Placed, Settled};
use crate::aggregate::LedgerAggregate;
use crate::bus::{Bus, BusError, Peers, SETTLE};
use crate::entry::CommandContext;
use crate::forward::Envelope;
use crate::owners::Instance;

/// Commands in one call: a line of an import is at most 8 KiB, and a call a megabyte.
const CALL: usize = 64;
/// Calls to all instances at once.
const CALLS: usize = 16;

#[derive(Serialize)]
struct OutboundMany<'a, C> {
    #[serde(flatten)]
    envelope: Envelope,
    context: &'a CommandContext,
    orders: Vec<&'a Order<C>>,
}

/// The rest of a body that says [`Envelope::Many`].
#[derive(Deserialize)]
pub(crate) struct InboundMany<C> {
    pub context: CommandContext,
    pub orders: Vec<Order<C>>,
}

impl Bus {
    pub(super) async fn settle_elsewhere<A: LedgerAggregate>(
        &self,
        routed: Vec<(Instance, Vec<Placed<A>>)>,
        context: &CommandContext,
        deadline: Instant,
    ) -> Settled<A> {
        let mut settled = Settled::default();
        let Some(peers) = self.peers.as_ref() else {
            settled
                .left
                .extend(routed.into_iter().flat_map(|(_, orders)| orders));
            return settled;
        };
        let mut calls = Vec::new();
        for (instance, mut orders) in routed {
            while !orders.is_empty() {
                let rest = orders.split_off(orders.len().min(CALL));
                calls.push((instance.clone(), std::mem::replace(&mut orders, rest)));
            }
        }
        let asked = calls.into_iter().map(async |(instance, orders)| {
            let answers = ask::<A>(peers, &instance, &orders, context, deadline).await;
            (orders, answers)
        });
        let answers: Vec<_> = futures::stream::iter(asked)
            .buffer_unordered(CALLS)
            .collect()
            .await;
        for (orders, answers) in answers {
            for (place, outcome) in sorted::<A>(orders, answers) {
                match outcome {
                    Ok(outcome) => settled.done.push((place, outcome)),
                    Err(order) => settled.left.push((place, order)),
                }
            }
        }
        settled
    }
}

/// Those whose owner is another by now, or whose answer is lost, are asked again one by one.
fn sorted<A: LedgerAggregate>(
    orders: Vec<Placed<A>>,
    answers: Option<Vec<Outcome<A>>>,
) -> impl Iterator<Item = (usize, Result<Outcome<A>, Order<A::Command>>)> {
    let mut answers = answers.unwrap_or_default().into_iter();
    orders.into_iter().map(move |(place, order)| {
        let answer = answers.next().filter(|answer| match answer {
            Err(BusError::OutcomeUnknown) => false,
            Err(error) => !error.is_between_owners(),
            Ok(_) => true,
        });
        (place, answer.ok_or(order))
    })
}

async fn ask<A: LedgerAggregate>(
    peers: &Peers,
    owner: &Instance,
    orders: &[Placed<A>],
    context: &CommandContext,
    deadline: Instant,
) -> Option<Vec<Outcome<A>>> {
    let within = deadline.saturating_duration_since(Instant::now());
    let envelope = Envelope::Many {
        stream: A::STREAM,
        within,
    };
    let outbound = OutboundMany {
        envelope,
        context,
        orders: orders.iter().map(|(_, order)| order).collect(),
    };
    let body = serde_json::to_vec(&outbound).ok()?;
    match peers.way.forward(owner, body, within + SETTLE).await {
        Ok(answer) => match serde_json::from_slice(&answer) {
            Ok(answers) => Some(answers),
            Err(error) => {
                tracing::error!(%error, owner = owner.address, "An instance's answer cannot be read");
                None
            }
        },
        Err(error) => {
            tracing::debug!(%error, owner = owner.address, "The owner of many ledgers does not answer");
            None
        }
    }
}
