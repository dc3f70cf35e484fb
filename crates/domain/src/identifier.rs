//! One e-mail address or user name, known by its blind index: who holds it.

mod confirm;
mod release;
mod reserve;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use schemas::identifier::{IdentifierEvent, IdentifierKind};
use schemas::{ClaimId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

pub use confirm::Confirm;
pub use release::Release;
pub use reserve::Reserve;

use crate::decider::{self, Context, Decide};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identifier {
    #[default]
    Free,
    /// Waits for its user event. Its expiry frees nothing: it lets a contender ask.
    Reserved {
        holder: Holder,
        expires_at: Timestamp,
    },
    Held {
        holder: Holder,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub kind: IdentifierKind,
    pub user_id: UserId,
    pub claim_id: ClaimId,
    /// Key and normalisation rules of the index under which it is held.
    pub index_key_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentifierCommand {
    Reserve(Reserve),
    Confirm(Confirm),
    Release(Release),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// Names the holder, whose ledger a contender may ask from the expiry on.
    #[error("the identifier is reserved")]
    Reserved {
        user_id: UserId,
        claim_id: ClaimId,
        expires_at: Timestamp,
    },
    #[error("the identifier is taken")]
    Taken,
}

impl Identifier {
    /// Who reserved or holds it.
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Free => None,
            Self::Reserved { holder, .. } | Self::Held { holder } => Some(holder),
        }
    }

    /// The holder, if this user holds it under this claim. Confirm and release do nothing for
    /// anyone else: repeated late, they must not touch what has gone to another since.
    fn held_under(&self, user_id: UserId, claim_id: ClaimId) -> Option<&Holder> {
        self.holder()
            .filter(|holder| holder.user_id == user_id && holder.claim_id == claim_id)
    }

    pub fn apply(&mut self, event: &IdentifierEvent) {
        *self = match event {
            IdentifierEvent::Reserved(e) => Self::Reserved {
                holder: Holder {
                    kind: e.kind,
                    user_id: e.user_id,
                    claim_id: e.claim_id,
                    index_key_id: e.index_key_id.clone(),
                },
                expires_at: e.expires_at,
            },
            IdentifierEvent::Confirmed(e) => Self::Held {
                holder: Holder {
                    kind: e.kind,
                    user_id: e.user_id,
                    claim_id: e.claim_id,
                    index_key_id: e.index_key_id.clone(),
                },
            },
            IdentifierEvent::Released(_) => Self::Free,
        };
    }
}

impl Decide<Identifier> for IdentifierCommand {
    fn decide(self, state: &Identifier, ctx: &Context) -> Result<Vec<IdentifierEvent>, Error> {
        match self {
            Self::Reserve(command) => command.decide(state, ctx),
            Self::Confirm(command) => command.decide(state, ctx),
            Self::Release(command) => command.decide(state, ctx),
        }
    }
}

impl Aggregate for Identifier {
    const TYPE: &'static str = "identifier";
    type Command = IdentifierCommand;
    type Event = IdentifierEvent;
    type Error = Error;
    type Services = Context;

    async fn handle(
        &mut self,
        command: IdentifierCommand,
        ctx: &Context,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        decider::handle(self, command, ctx, sink).await
    }

    fn apply(&mut self, event: IdentifierEvent) {
        Self::apply(self, &event);
    }
}
