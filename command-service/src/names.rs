//! Claiming names for a user, and giving them up: sagas over the ledgers of the user and of each name.
//!
//! Reserve the names on their ledgers, record the user event (the commit point), confirm. One claim
//! id names the whole. Names whose ledger has one writer with the user's take these steps in one transaction. Names that the
//! event gives up are released after it, and the user is told so.

mod again;
mod bulk;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use domain::identifier::{self, Confirm, Identifier, IdentifierCommand, Release, Reserve};
use domain::user::{self, AbandonClaim, NoteReleased, User, UserCommand};
use event_log::{Bus, BusError, CommandContext, Receipt, Steps};
use futures::future::join_all;
use schemas::identifier::IdentifierKind;
use schemas::user::{HeldName, UserEvent};
use schemas::{BlindIndex, ClaimId, Timestamp, UserId};
use service_kit::problem::{Problem, ProblemType};

use crate::guesses::state_of;
use crate::refusals::problem;

pub use bulk::Registration;

/// After this a contender may ask the holder's ledger to abandon the claim.
const RESERVED_FOR: Duration = Duration::from_secs(60);

/// Of ids for one beside a name: by far enough with the few writers that a log has.
const TRIES: usize = 64;

/// Who holds which name, by the ledgers.
pub struct Names {
    bus: Bus,
    index_key_id: String,
    /// Some names may be half way, reserved or given up: to be looked at soon. So at every start.
    are_open: AtomicBool,
}

/// Names for a user under one claim.
#[derive(Clone)]
pub struct Claim {
    pub user: UserId,
    pub id: ClaimId,
    pub names: Vec<(IdentifierKind, BlindIndex)>,
    /// Other tries may have the same claim, as retries under one idempotency key do.
    pub shared: bool,
}

impl Claim {
    fn held(&self) -> impl Iterator<Item = HeldName> {
        self.names.iter().map(|&(kind, index)| HeldName {
            kind,
            index,
            claim_id: self.id,
        })
    }
}

impl Names {
    pub fn new(bus: Bus, index_key_id: String) -> Self {
        Self {
            bus,
            index_key_id,
            are_open: AtomicBool::new(true),
        }
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Something was left half way, or may have been.
    pub fn leave_open(&self) {
        self.are_open.store(true, Ordering::Release);
    }

    /// Whether something was left half way since the last time this was asked.
    pub fn take_open(&self) -> bool {
        self.are_open.swap(false, Ordering::AcqRel)
    }

    /// Somebody new, on a ledger that has one writer with this name's: then one transaction does for both.
    pub fn user_beside(&self, name: BlindIndex) -> UserId {
        let index = name.to_hex();
        let is_beside = |user: &UserId| {
            self.bus
                .have_one_writer::<User, Identifier>(&user.to_string(), &index)
        };
        let mut tries = std::iter::repeat_with(UserId::new_v7).take(TRIES);
        tries.find(is_beside).unwrap_or_else(UserId::new_v7)
    }

    /// As [`Self::commit`], under this claim alone.
    async fn commit_once(
        &self,
        claim: &Claim,
        command: UserCommand,
        context: CommandContext,
    ) -> Result<Receipt<UserEvent>, Problem> {
        // The saga's own steps carry no idempotency key: the claim id makes each safe to repeat.
        let steps = CommandContext {
            idempotency: None,
            new_data_key: None,
            ..context.clone()
        };
        let user = claim.user.to_string();
        let is_near =
            |name: &HeldName| (self.bus).have_one_writer::<User, Identifier>(&user, &name.index.to_hex());
        let (near, apart): (Vec<_>, Vec<_>) = claim.held().partition(is_near);
        self.reserve_each(claim, &apart, &steps).await?;
        let together = self.together(claim, &near, &command, &context);
        let (outcome, reserved) = match together.await {
            Some(outcome) => (outcome, apart),
            None => {
                self.reserve_each(claim, &near, &steps).await?;
                let outcome = self.bus.execute::<User>(&user, command, context).await;
                (outcome, claim.held().collect())
            }
        };
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(error) => {
                if leaves_nothing(&error, claim.shared) {
                    self.withdraw(claim, &steps).await;
                }
                return Err(problem(error));
            }
        };
        let confirmed = join_all(
            reserved
                .into_iter()
                .map(|name| self.confirm(claim.user, name, &steps)),
        );
        if confirmed.await.iter().any(Result::is_err) {
            // The names are the user's, and that is the answer; the names follow.
            self.leave_open();
            tracing::warn!(user.id = %claim.user, "A name of user {} could not be confirmed yet", claim.user);
        }
        Ok(receipt)
    }

    /// The user event with these names reserved and confirmed in its transaction. `None`: nothing was done, and the
    /// steps are to be taken singly.
    async fn together(
        &self,
        claim: &Claim,
        names: &[HeldName],
        command: &UserCommand,
        context: &CommandContext,
    ) -> Option<Result<Receipt<UserEvent>, BusError<user::Error>>> {
        if names.is_empty() {
            return None;
        }
        let steps = names.iter().map(|&name| Steps {
            id: name.index.to_hex(),
            commands: vec![
                self.reservation(claim.user, name),
                confirmation(claim.user, name.claim_id),
            ],
        });
        let (user, command, context) = (claim.user.to_string(), command.clone(), context.clone());
        self.bus
            .execute_with::<User, Identifier>(steps.collect(), &user, command, context)
            .await
    }

    async fn reserve_each(
        &self,
        claim: &Claim,
        names: &[HeldName],
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let reserving = names.iter().map(|&name| self.reserve(claim.user, name, context));
        let reserved: Result<(), _> = join_all(reserving).await.into_iter().collect();
        if let Err(refused) = &reserved
            // The next try of what only failed for now goes on with the same claim.
            && (!claim.shared || refused.status() == StatusCode::CONFLICT)
        {
            self.withdraw(claim, context).await;
        }
        reserved
    }

    fn reservation(&self, user_id: UserId, name: HeldName) -> IdentifierCommand {
        IdentifierCommand::Reserve(Reserve {
            kind: name.kind,
            user_id,
            claim_id: name.claim_id,
            expires_at: Timestamp::now().plus(RESERVED_FOR),
            index_key_id: self.index_key_id.clone(),
        })
    }

    async fn reserve(&self, user: UserId, name: HeldName, context: &CommandContext) -> Result<(), Problem> {
        let attempt = async || {
            let command = self.reservation(user, name);
            self.bus
                .execute::<Identifier>(&name.index.to_hex(), command, context.clone())
                .await
        };
        let (holder, theirs, expires_at) = match attempt().await {
            Ok(_) => return Ok(()),
            Err(BusError::Refused(identifier::Error::Taken)) => return Err(taken(name.kind)),
            Err(BusError::Refused(identifier::Error::Reserved {
                user_id,
                claim_id,
                expires_at,
            })) => (user_id, HeldName { claim_id, ..name }, expires_at),
            Err(error) => return Err(problem(error)),
        };
        if Timestamp::now() < expires_at || !self.take_from(holder, theirs, context).await? {
            return Err(taken(name.kind));
        }
        match attempt().await {
            Ok(_) => Ok(()),
            Err(BusError::Refused(_)) => Err(taken(name.kind)),
            Err(error) => Err(problem(error)),
        }
    }

    /// Settles an expired claim on its holder's ledger, where exactly one of "used" and "abandoned"
    /// can come first. True when the name is free now.
    async fn take_from(
        &self,
        holder: UserId,
        name: HeldName,
        context: &CommandContext,
    ) -> Result<bool, Problem> {
        match self.abandon(holder, name.claim_id, context).await {
            Ok(()) => {}
            Err(BusError::Refused(user::Error::ClaimUsed)) => {
                let is_not_theirs = |user: &User| !user.holds(name);
                if !is_not_theirs(&state_of(&self.bus, holder, is_not_theirs).await?) {
                    self.confirm(holder, name, context).await?;
                    return Ok(false);
                }
                // The claim was used and this name given up since, or reserved anew too late to be used.
            }
            Err(error) => return Err(problem(error)),
        }
        self.release(holder, name, context).await?;
        Ok(true)
    }

    async fn abandon(
        &self,
        user: UserId,
        claim_id: ClaimId,
        context: &CommandContext,
    ) -> Result<(), BusError<user::Error>> {
        let command = UserCommand::AbandonClaim(AbandonClaim { claim_id });
        let user = user.to_string();
        let abandoned = self.bus.execute::<User>(&user, command, context.clone()).await;
        abandoned.map(drop)
    }

    pub(crate) async fn confirm(
        &self,
        user_id: UserId,
        name: HeldName,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let command = confirmation(user_id, name.claim_id);
        self.of_name(name.index, command, context).await
    }

    pub(crate) async fn release(
        &self,
        user_id: UserId,
        name: HeldName,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let claim_id = name.claim_id;
        let command = IdentifierCommand::Release(Release { user_id, claim_id });
        self.of_name(name.index, command, context).await
    }

    async fn of_name(
        &self,
        index: BlindIndex,
        command: IdentifierCommand,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let index = index.to_hex();
        let done = self.bus.execute::<Identifier>(&index, command, context.clone());
        done.await.map(drop).map_err(problem)
    }

    /// Frees what a failed saga had reserved. If that fails too, a contender will find the claim
    /// expired and settle it. Another try that shares the claim may have come further: then the user's
    /// ledger decides which of them counts.
    async fn withdraw(&self, claim: &Claim, context: &CommandContext) {
        if claim.shared && self.abandon(claim.user, claim.id, context).await.is_err() {
            return;
        }
        for name in claim.held() {
            if let Err(problem) = self.release(claim.user, name, context).await {
                tracing::warn!(status = %problem.status(), "A reservation could not be given back; it will expire");
            }
        }
    }

    /// Frees the names that a user has given up, and closes that with the user. Whatever fails is
    /// looked at again by the owner of the user's ledger.
    pub async fn release_given_up(&self, user: UserId, context: CommandContext) -> Result<(), Problem> {
        let context = CommandContext {
            idempotency: None,
            new_data_key: None,
            ..context
        };
        let released = self.try_to_release(user, &context).await;
        if released.is_err() {
            self.leave_open();
            tracing::warn!(user.id = %user, "A name that user {user} gave up could not be released yet");
        }
        released
    }

    async fn try_to_release(&self, user: UserId, context: &CommandContext) -> Result<(), Problem> {
        let id = user.to_string();
        let state = self.bus.inspect::<User>(&id).await.map_err(problem)?.aggregate;
        let names = state.given_up;
        if names.is_empty() {
            return Ok(());
        }
        let released = join_all(names.iter().map(|name| self.release(user, *name, context))).await;
        released.into_iter().collect::<Result<(), _>>()?;
        let command = UserCommand::NoteReleased(NoteReleased { names });
        let noted = self.bus.execute::<User>(&id, command, context.clone()).await;
        noted.map(drop).map_err(problem)
    }

    /// Who holds a name for good.
    pub async fn holder_of(&self, index: BlindIndex) -> Result<Option<UserId>, Problem> {
        let found = self.bus.inspect::<Identifier>(&index.to_hex()).await;
        match found.map_err(problem)?.aggregate {
            // That there is nobody is an answer by itself; somebody is asked further.
            Identifier::Free => self.proven_holder_of(index).await,
            known => Ok(known.holder().map(|holder| holder.user_id)),
        }
    }

    /// As [`Self::holder_of`], and somebody's name takes as long as nobody's.
    pub async fn proven_holder_of(&self, index: BlindIndex) -> Result<Option<UserId>, Problem> {
        let found = self.bus.inspect_proven::<Identifier>(&index.to_hex()).await;
        let found = found.map_err(problem)?.aggregate;
        Ok(found.holder().map(|holder| holder.user_id))
    }
}

const fn confirmation(user_id: UserId, claim_id: ClaimId) -> IdentifierCommand {
    IdentifierCommand::Confirm(Confirm { user_id, claim_id })
}

/// Whether a claim whose user event came to this is over, for sure.
fn leaves_nothing(error: &BusError<user::Error>, shared: bool) -> bool {
    match error {
        BusError::Refused(_) | BusError::KeyReused => true,
        BusError::NotApplied | BusError::Busy => !shared,
        // Applied or not: the reservations stay until a contender asks the ledger.
        BusError::OutcomeUnknown | BusError::Unavailable | BusError::Internal(_) => false,
    }
}

fn taken(kind: IdentifierKind) -> Problem {
    Problem::new(match kind {
        IdentifierKind::Email => ProblemType::EmailTaken,
        IdentifierKind::Username | IdentifierKind::Other => ProblemType::UsernameTaken,
    })
}

#[cfg(test)]
mod tests;
