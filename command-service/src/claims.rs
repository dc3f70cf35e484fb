//! Claiming an e-mail address and a user name for a new user: reserve both on their ledgers,
//! register the user (the commit point), confirm both. One claim id names the whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use domain::identifier::{self, Confirm, Identifier, IdentifierCommand, Release, Reserve};
use domain::user::{self, AbandonClaim, Register, User, UserCommand};
use event_log::{BusError, CommandContext, Receipt};
use schemas::identifier::IdentifierKind;
use schemas::user::{UserEvent, UserRegistered};
use schemas::{BlindIndex, ClaimId, Timestamp, UserId};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::refusals::problem;

/// After this a contender may ask the holder's ledger to abandon the claim.
const RESERVED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Wanted {
    kind: IdentifierKind,
    index: BlindIndex,
}

/// A registration is up to five commands, each of which may wait for its ledger's next owner.
const LONGEST: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(1);

impl App {
    /// Runs to its end even if the caller hangs up. `shared`: other tries may have the same claim, as
    /// retries under one idempotency key do.
    pub async fn register(
        self: &Arc<Self>,
        registration: UserRegistered,
        context: CommandContext,
        shared: bool,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let app = Arc::clone(self);
        let saga = self
            .sagas
            .spawn(async move { app.run_registration(registration, context, shared).await });
        match tokio::time::timeout(LONGEST, saga).await {
            Ok(ended) => ended.unwrap_or_else(|error| Err(Problem::internal(&error))),
            // It goes on; only the caller waits no longer.
            Err(_) => Err(Problem::new(ProblemType::OutcomeUnknown).retry_after(SOON)),
        }
    }

    async fn run_registration(
        &self,
        registration: UserRegistered,
        context: CommandContext,
        shared: bool,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let (user, claim) = (registration.user_id, registration.claim_id);
        let email = Wanted {
            kind: IdentifierKind::Email,
            index: registration.email_index,
        };
        let username = Wanted {
            kind: IdentifierKind::Username,
            index: registration.username_index,
        };
        // The saga's own steps carry no idempotency key: the claim id makes each safe to repeat.
        let steps = CommandContext {
            idempotency: None,
            new_data_key: None,
            ..context.clone()
        };
        let (first, second) = tokio::join!(
            self.reserve(email, user, claim, &steps),
            self.reserve(username, user, claim, &steps),
        );
        if let Err(refused) = first.and(second) {
            // The next try of what only failed for now goes on with the same claim.
            if !shared || refused.status() == StatusCode::CONFLICT {
                self.withdraw(&[email, username], user, claim, shared, &steps)
                    .await;
            }
            return Err(refused);
        }
        let wrapped = context.new_data_key.as_ref().map(|key| key.wrapped.clone());
        let command = UserCommand::Register(Box::new(Register { registration }));
        let receipt = match self
            .bus
            .execute::<User>(&user.to_string(), command, context)
            .await
        {
            Ok(receipt) => receipt,
            Err(error) => {
                let certain = match &error {
                    BusError::Refused(_) | BusError::KeyReused => true,
                    BusError::NotApplied | BusError::Busy => !shared,
                    // Applied or not: the reservations stay until a contender asks the ledger.
                    BusError::OutcomeUnknown | BusError::Unavailable | BusError::Internal(_) => false,
                };
                if certain {
                    self.withdraw(&[email, username], user, claim, shared, &steps)
                        .await;
                }
                return Err(problem(error));
            }
        };
        if let Some(wrapped) = wrapped.filter(|_| !receipt.records.is_empty() && !receipt.replayed) {
            self.keys.insert(user, wrapped);
        }
        let (first, second) = tokio::join!(
            self.confirm(email, user, claim, &steps),
            self.confirm(username, user, claim, &steps),
        );
        if first.and(second).is_err() {
            // The user is registered, and that is the answer; the names follow.
            self.claims_are_open.store(true, Ordering::Release);
            tracing::warn!(user.id = %user, "A name of a registered user could not be confirmed yet");
        }
        Ok(receipt)
    }

    async fn reserve(
        &self,
        wanted: Wanted,
        user: UserId,
        claim: ClaimId,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let attempt = async || {
            let command = IdentifierCommand::Reserve(Reserve {
                kind: wanted.kind,
                user_id: user,
                claim_id: claim,
                expires_at: Timestamp::now().plus(RESERVED_FOR),
                index_key_id: self.index_key.id(),
            });
            self.bus
                .execute::<Identifier>(&wanted.index.to_hex(), command, context.clone())
                .await
        };
        let holder = match attempt().await {
            Ok(_) => return Ok(()),
            Err(BusError::Refused(identifier::Error::Taken)) => return Err(taken(wanted.kind)),
            Err(BusError::Refused(identifier::Error::Reserved {
                user_id,
                claim_id,
                expires_at,
            })) => (user_id, claim_id, expires_at),
            Err(error) => return Err(problem(error)),
        };
        if Timestamp::now() < holder.2 || !self.take_from(wanted, holder.0, holder.1, context).await? {
            return Err(taken(wanted.kind));
        }
        match attempt().await {
            Ok(_) => Ok(()),
            Err(BusError::Refused(_)) => Err(taken(wanted.kind)),
            Err(error) => Err(problem(error)),
        }
    }

    /// Settles an expired claim on its holder's ledger, where exactly one of "registered" and
    /// "abandoned" can come first. True when the identifier is free now.
    async fn take_from(
        &self,
        wanted: Wanted,
        holder: UserId,
        claim: ClaimId,
        context: &CommandContext,
    ) -> Result<bool, Problem> {
        let command = UserCommand::AbandonClaim(AbandonClaim { claim_id: claim });
        match self
            .bus
            .execute::<User>(&holder.to_string(), command, context.clone())
            .await
        {
            Ok(_) => {
                self.release(wanted, holder, claim, context).await?;
                Ok(true)
            }
            Err(BusError::Refused(user::Error::ClaimUsed)) => {
                self.confirm(wanted, holder, claim, context).await?;
                Ok(false)
            }
            Err(error) => Err(problem(error)),
        }
    }

    async fn confirm(
        &self,
        wanted: Wanted,
        user_id: UserId,
        claim_id: ClaimId,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let command = IdentifierCommand::Confirm(Confirm { user_id, claim_id });
        self.bus
            .execute::<Identifier>(&wanted.index.to_hex(), command, context.clone())
            .await
            .map(drop)
            .map_err(problem)
    }

    async fn release(
        &self,
        wanted: Wanted,
        user_id: UserId,
        claim_id: ClaimId,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let command = IdentifierCommand::Release(Release { user_id, claim_id });
        self.bus
            .execute::<Identifier>(&wanted.index.to_hex(), command, context.clone())
            .await
            .map(drop)
            .map_err(problem)
    }

    /// Frees what a failed registration had reserved. If that fails too, a contender will find the
    /// claim expired and settle it. Another try that shares the claim may have come further: then
    /// the user's ledger decides which of them counts.
    async fn withdraw(
        &self,
        wanted: &[Wanted],
        user: UserId,
        claim: ClaimId,
        shared: bool,
        context: &CommandContext,
    ) {
        if shared {
            let command = UserCommand::AbandonClaim(AbandonClaim { claim_id: claim });
            match self
                .bus
                .execute::<User>(&user.to_string(), command, context.clone())
                .await
            {
                Ok(_) => {}
                Err(_) => return,
            }
        }
        for identifier in wanted {
            if let Err(problem) = self.release(*identifier, user, claim, context).await {
                tracing::warn!(status = %problem.status(), "A reservation could not be given back; it will expire");
            }
        }
    }

    /// Who holds an identifier for good.
    /// As [`Self::holder_of`], and somebody's name takes as long as nobody's.
    pub async fn proven_holder_of(&self, index: BlindIndex) -> Result<Option<UserId>, Problem> {
        let found = self.bus.inspect_proven::<Identifier>(&index.to_hex()).await;
        let found = found.map_err(problem)?.aggregate;
        Ok(found.holder().map(|holder| holder.user_id))
    }

    pub async fn holder_of(&self, index: BlindIndex) -> Result<Option<UserId>, Problem> {
        let index = index.to_hex();
        let found = self.bus.inspect::<Identifier>(&index).await.map_err(problem)?;
        let found = match found.aggregate {
            // That there is nobody is an answer by itself; somebody is asked further.
            Identifier::Free => {
                self.bus
                    .inspect_proven::<Identifier>(&index)
                    .await
                    .map_err(problem)?
                    .aggregate
            }
            known => known,
        };
        Ok(found.holder().map(|holder| holder.user_id))
    }
}

fn taken(kind: IdentifierKind) -> Problem {
    Problem::new(match kind {
        IdentifierKind::Email => ProblemType::EmailTaken,
        IdentifierKind::Username | IdentifierKind::Other => ProblemType::UsernameTaken,
    })
}
