//! Answering what another instance forwarded.

use std::time::{Duration, Instant};

use domain::catalog::Catalog;
use domain::identifier::Identifier;
use domain::user::User;
use schemas::Stream;

use crate::aggregate::LedgerAggregate;
use crate::bulk::InboundMany;
use crate::bus::Bus;
use crate::forward::{Envelope, Inbound};

/// Nobody waits longer than this, whatever a peer says.
const LONGEST: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
#[error("this is not a question from a peer of the same version: {0}")]
pub struct NotAQuestion(#[from] serde_json::Error);

impl Bus {
    /// The answer to a body that [`crate::Forward`] brought, from the owner that this process is or is not:
    /// it is never passed on. A command is finished whether or not the peer waits.
    pub async fn answer(&self, body: &[u8]) -> Result<Vec<u8>, NotAQuestion> {
        match serde_json::from_slice(body)? {
            Envelope::Aggregate { stream, id, within } => match stream {
                Stream::Users => self.answer_of::<User>(id, within, body).await,
                Stream::Identifiers => self.answer_of::<Identifier>(id, within, body).await,
                Stream::Catalog => self.answer_of::<Catalog>(id, within, body).await,
            },
            Envelope::Many { stream, within } => match stream {
                Stream::Users => self.answers_of::<User>(within, body).await,
                Stream::Identifiers => self.answers_of::<Identifier>(within, body).await,
                Stream::Catalog => self.answers_of::<Catalog>(within, body).await,
            },
            Envelope::Pause {
                stream,
                partition,
                within,
            } => Ok(serde_json::to_vec(
                &self.pause((stream, partition), within).await,
            )?),
        }
    }

    async fn answer_of<A: LedgerAggregate>(
        &self,
        id: String,
        within: Duration,
        body: &[u8],
    ) -> Result<Vec<u8>, NotAQuestion> {
        let Inbound { ask } = serde_json::from_slice::<Inbound<A::Command>>(body)?;
        let deadline = Instant::now() + within.min(LONGEST);
        let answer = self.answer_here::<A>(id, ask, deadline).await;
        Ok(serde_json::to_vec(&answer)?)
    }

    async fn answers_of<A: LedgerAggregate>(
        &self,
        within: Duration,
        body: &[u8],
    ) -> Result<Vec<u8>, NotAQuestion> {
        let InboundMany { context, orders } = serde_json::from_slice::<InboundMany<A::Command>>(body)?;
        let deadline = Instant::now() + within.min(LONGEST);
        let answers = self.answer_all_here::<A>(orders, context, deadline).await;
        Ok(serde_json::to_vec(&answers)?)
    }
}
