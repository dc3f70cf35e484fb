//! Asking an owner until there is an answer: owners change, and die.

use std::time::{Duration, Instant};

use schemas::{Idempotency, WriterId};

use crate::aggregate::LedgerAggregate;
use crate::bus::{BusError, Peers, SETTLE};
use crate::forward::{Answer, Ask, Envelope, ForwardError, Outbound};
use crate::owners::{Instance, News};

const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(200);

/// One question on its way.
pub(crate) struct Asking<C> {
    pub ask: Ask<C>,
    pub deadline: Instant,
    wait: Duration,
    /// With a new owner it is asked again at once.
    news: Option<News>,
    /// Who was asked last, if elsewhere.
    asked: Option<WriterId>,
    /// Whose answers got lost: the question may have been answered there, and may yet be.
    doubts: Vec<WriterId>,
}

impl<C> Asking<C> {
    pub(crate) fn new(ask: Ask<C>, deadline: Instant, news: Option<News>) -> Self {
        Self {
            ask,
            deadline,
            wait: BACKOFF,
            news,
            asked: None,
            doubts: Vec::new(),
        }
    }

    /// Asks another instance.
    pub(crate) async fn there<A>(&mut self, id: &str, peers: &Peers, owner: &Instance) -> Answer<A>
    where
        A: LedgerAggregate<Command = C>,
    {
        self.make_repeatable();
        self.asked = Some(owner.id);
        let within = self.deadline.saturating_duration_since(Instant::now());
        let envelope = Envelope::Aggregate {
            stream: A::STREAM,
            id: id.to_owned(),
            within,
        };
        let ask = &self.ask;
        let body = serde_json::to_vec(&Outbound { envelope, ask })
            .map_err(|error| BusError::Internal(error.to_string()))?;
        match peers.way.forward(owner, body, within + SETTLE).await {
            Ok(body) => serde_json::from_slice(&body).unwrap_or_else(|error| {
                tracing::error!(%error, owner = owner.address, "An instance's answer cannot be read");
                Err(BusError::OutcomeUnknown)
            }),
            Err(ForwardError::NotSent(reason)) => {
                tracing::debug!(reason, owner = owner.address, "The ledger's owner is not reached");
                Err(BusError::Unavailable)
            }
            Err(ForwardError::Unclear(reason)) => {
                tracing::debug!(
                    reason,
                    owner = owner.address,
                    "The ledger's owner does not answer"
                );
                Err(BusError::OutcomeUnknown)
            }
        }
    }

    /// A question whose answer may get lost on the way needs a key, so that it can be asked again.
    fn make_repeatable(&mut self) {
        if let Ask::Execute { context, .. } = &mut self.ask
            && context.idempotency.is_none()
        {
            context.idempotency = Some(Idempotency::passing());
        }
    }

    /// The final answer, or `None` after a pause where asking again may bring a better one.
    pub(crate) async fn settle<A: LedgerAggregate>(&mut self, outcome: Answer<A>) -> Option<Answer<A>> {
        let asked = self.asked.take();
        let again = match &outcome {
            Err(BusError::OutcomeUnknown) => {
                self.doubts.extend(asked);
                asked.is_some() && self.ask.is_repeatable()
            }
            Err(error) => error.is_between_owners(),
            Ok(_) => false,
        };
        if again && Instant::now() + self.wait < self.deadline {
            let pause = self.wait.mul_f64(0.5 + rand::random::<f64>());
            match &mut self.news {
                Some(news) => tokio::time::timeout(pause, news.next()).await.unwrap_or(()),
                None => tokio::time::sleep(pause).await,
            }
            self.wait = (self.wait * 2).min(BACKOFF_MAX);
            return None;
        }
        Some(self.believe(asked, outcome))
    }

    /// A first try that got lost may still be carried out by whom it was sent to, unless another owner, who
    /// has fenced that one, answered.
    fn believe<A: LedgerAggregate>(&self, asked: Option<WriterId>, outcome: Answer<A>) -> Answer<A> {
        match outcome {
            outcome if self.doubts.is_empty() => outcome,
            Ok(reply) => Ok(reply),
            Err(error @ BusError::Refused(_)) if asked.is_none_or(|it| !self.doubts.contains(&it)) => {
                Err(error)
            }
            Err(_) if self.ask.idempotency().is_none() => Err(BusError::Unavailable),
            Err(_) => Err(BusError::OutcomeUnknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::user::{Error, User, UserCommand};
    use schemas::RequestId;

    use super::*;
    use crate::entry::CommandContext;

    async fn settled(
        asking: &mut Asking<UserCommand>,
        owner: WriterId,
        outcome: BusError<Error>,
    ) -> Option<BusError<Error>> {
        asking.asked = Some(owner);
        asking.settle::<User>(Err(outcome)).await?.err()
    }

    /// Each of them may still carry the first try out.
    #[tokio::test]
    async fn whoever_did_not_answer_once_is_not_believed_to_refuse() {
        let [a, b, c] = [WriterId::new_v7(), WriterId::new_v7(), WriterId::new_v7()];
        for (refuses, believed) in [(a, false), (b, false), (c, true)] {
            let command = UserCommand::RevokeRole(domain::user::RevokeRole {
                role_id: schemas::RoleId::new_v7(),
                scope: None,
            });
            let context = Box::new(CommandContext::system(RequestId::new_v7()));
            let ask = Ask::Execute { command, context };
            let mut asking = Asking::new(ask, Instant::now() + Duration::from_secs(60), None);
            asking.make_repeatable();
            for lost in [a, b] {
                assert_eq!(settled(&mut asking, lost, BusError::OutcomeUnknown).await, None);
            }
            let refused = BusError::Refused(Error::NotFound);
            let wanted = if believed {
                refused.clone()
            } else {
                BusError::OutcomeUnknown
            };
            assert_eq!(settled(&mut asking, refuses, refused).await, Some(wanted));
        }
    }
}
