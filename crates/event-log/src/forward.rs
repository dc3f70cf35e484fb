//! A question to the owner of an aggregate, and how it travels there when that is another instance.

use std::time::Duration;

use cqrs_es::Aggregate;
use futures::future::BoxFuture;
use schemas::{Idempotency, Position, Stream};
use serde::{Deserialize, Serialize};

use crate::aggregate::LedgerAggregate;
use crate::bus::BusError;
use crate::entry::{CommandContext, Receipt};
use crate::owners::Instance;

/// An aggregate's state and the position of its last event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inspected<A> {
    pub aggregate: A,
    /// Events so far.
    pub sequence: i64,
    pub last: Option<Position>,
}

/// What can be asked of an aggregate's owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask<C> {
    Execute {
        command: C,
        context: Box<CommandContext>,
    },
    /// The answer of an earlier command under this key.
    Replayed(Idempotency),
    /// The state; proven: the owner has shown afterwards that it still is the owner.
    Inspect { proven: bool },
}

impl<C> Ask<C> {
    pub(crate) fn idempotency(&self) -> Option<&Idempotency> {
        match self {
            Self::Execute { context, .. } => context.idempotency.as_ref(),
            Self::Replayed(_) | Self::Inspect { .. } => None,
        }
    }

    /// Whether asking twice does what asking once does.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Execute { context, .. } if context.idempotency.is_none())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Reply<A: LedgerAggregate> {
    Receipt(Receipt<<A as Aggregate>::Event>),
    Replayed(Option<Receipt<<A as Aggregate>::Event>>),
    Inspected(Inspected<A>),
}

pub(crate) type Answer<A> = Result<Reply<A>, BusError<<A as Aggregate>::Error>>;

/// What a body is about: read first, to know the type of the rest.
#[derive(Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub(crate) enum Envelope {
    /// An [`Ask`] goes with it.
    Aggregate {
        stream: Stream,
        id: String,
        within: Duration,
    },
    /// Orders go with it, and the context of all: see [`crate::bulk`]. Answered with an outcome for each.
    Many { stream: Stream, within: Duration },
    /// Somebody is about to take over the group of this partition; see [`crate::pause`]. Answered with true or false.
    Pause {
        stream: Stream,
        partition: i32,
        within: Duration,
    },
}

#[derive(Serialize)]
pub(crate) struct Outbound<'a, C> {
    #[serde(flatten)]
    pub envelope: Envelope,
    pub ask: &'a Ask<C>,
}

#[derive(Deserialize)]
pub(crate) struct Inbound<C> {
    pub ask: Ask<C>,
}

/// Why another instance gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Certainly nothing was done.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Sent, and what became of it is not known.
    #[error("no answer: {0}")]
    Unclear(String),
}

/// The way to other instances.
pub trait Forward: Send + Sync + 'static {
    /// Has `Bus::answer` of that instance answer the body. Ends within the time given.
    fn forward<'a>(
        &'a self,
        to: &'a Instance,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, ForwardError>>;
}
