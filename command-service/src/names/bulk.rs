//! Registering many users at once: the steps of one commit for all of them together.
//!
//! Each claim takes its steps in the same order as alone: both names reserved, the user registered, the names
//! confirmed or given back. So a crash leaves of each what it leaves of one alone, and what finishes that finishes
//! these. Where a name needs more than a step, since another's claim on it has expired, the claim goes alone; and so does
//! what an earlier try under the same key has left something of.

use axum::http::StatusCode;
use domain::identifier::{self, Confirm, Identifier, IdentifierCommand, Release, Reserve};
use domain::user::{AbandonClaim, Register, User, UserCommand};
use event_log::{BusError, CommandContext, Done, NewDataKey, Order};
use futures::StreamExt as _;
use schemas::user::{HeldName, UserRegistered};
use schemas::{Timestamp, UserId};
use service_kit::problem::{Problem, ProblemType};

use super::{Claim, Names, RESERVED_FOR, leaves_nothing, taken};
use crate::refusals::problem;

/// Claims that go alone at once.
const ALONE: usize = 64;

/// A user to be.
#[derive(Clone)]
pub struct Registration {
    pub claim: Claim,
    pub registered: UserRegistered,
    pub new_data_key: NewDataKey,
}

/// What the reservations of one claim came to.
enum Reserved {
    Both,
    /// Somebody's claim on one of them has to be settled.
    Alone,
    Refused(Problem),
}

/// One of many on its way.
struct Step {
    place: usize,
    registration: Registration,
}

/// One of many that came to nothing.
struct Refused {
    step: Step,
    problem: Problem,
    /// An earlier try under the same key may have registered it, or given its claim up.
    was_tried: bool,
}

type Outcome = Result<Done, Problem>;

impl Names {
    /// Registers each or refuses it, and gives the outcomes in the same order. No two may claim the same name, or
    /// neither may have it.
    pub async fn register_all(
        &self,
        registrations: Vec<Registration>,
        context: &CommandContext,
    ) -> Vec<Result<Done, Problem>> {
        let count = registrations.len();
        let steps = (0..)
            .zip(registrations)
            .map(|(place, registration)| Step { place, registration });
        let mut outcomes: Vec<(usize, Outcome)> = Vec::with_capacity(count);
        let (mut reserved, mut alone, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for (step, verdict) in self.reserve_all(steps.collect(), context).await {
            match verdict {
                Reserved::Both => reserved.push(step),
                Reserved::Alone => alone.push(step),
                // The next try of what only failed for now goes on with the same claim.
                Reserved::Refused(problem)
                    if step.registration.claim.shared && problem.status() != StatusCode::CONFLICT =>
                {
                    outcomes.push((step.place, Err(problem)));
                }
                Reserved::Refused(problem) => over.push((step, problem)),
            }
        }
        let mut registered = Vec::with_capacity(reserved.len());
        for (step, outcome) in self.record_all(reserved, context).await {
            match outcome {
                Ok(done) => {
                    outcomes.push((step.place, Ok(done)));
                    registered.push(step.registration.claim);
                }
                Err(error) if leaves_nothing(&error, step.registration.claim.shared) => {
                    over.push((step, problem(error)));
                }
                Err(error) => outcomes.push((step.place, Err(problem(error)))),
            }
        }
        self.confirm_all(&registered, context).await;
        for refused in self.withdraw_all(over, context).await {
            match refused.was_tried {
                true => alone.push(refused.step),
                false => outcomes.push((refused.step.place, Err(refused.problem))),
            }
        }
        outcomes.extend(self.register_alone(alone, context).await);
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn reserve_all(&self, steps: Vec<Step>, context: &CommandContext) -> Vec<(Step, Reserved)> {
        let now = Timestamp::now();
        let reserve = |user_id, name: HeldName| {
            IdentifierCommand::Reserve(Reserve {
                kind: name.kind,
                user_id,
                claim_id: name.claim_id,
                expires_at: now.plus(RESERVED_FOR),
                index_key_id: self.index_key_id.clone(),
            })
        };
        let claims = steps.iter().map(|step| &step.registration.claim);
        let mut outcomes = self.of_names(claims, reserve, context).await.into_iter();
        let verdict = |step: Step| {
            let names: Vec<HeldName> = step.registration.claim.held().collect();
            let refused = names.into_iter().zip(outcomes.by_ref());
            // All of its outcomes are taken, whichever decides.
            let verdicts: Vec<Reserved> = refused
                .map(|(name, outcome)| match outcome {
                    Ok(_) => Reserved::Both,
                    Err(BusError::Refused(identifier::Error::Reserved { expires_at, .. }))
                        if expires_at <= now =>
                    {
                        Reserved::Alone
                    }
                    Err(BusError::Refused(_)) => Reserved::Refused(taken(name.kind)),
                    Err(error) => Reserved::Refused(problem(error)),
                })
                .collect();
            let refusal = verdicts.into_iter().find(|it| !matches!(it, Reserved::Both));
            (step, refusal.unwrap_or(Reserved::Both))
        };
        steps.into_iter().map(verdict).collect()
    }

    /// The commit point of each.
    async fn record_all(
        &self,
        steps: Vec<Step>,
        context: &CommandContext,
    ) -> Vec<(Step, Result<Done, BusError<domain::user::Error>>)> {
        let orders = steps.iter().map(|Step { registration, .. }| Order {
            id: registration.claim.user.to_string(),
            command: UserCommand::Register(Box::new(Register {
                registration: registration.registered.clone(),
            })),
            new_data_key: Some(registration.new_data_key.clone()),
        });
        let orders = orders.collect();
        let outcomes = self.bus.execute_all::<User>(orders, context).await;
        steps.into_iter().zip(outcomes).collect()
    }

    async fn confirm_all(&self, claims: &[Claim], context: &CommandContext) {
        let confirm = |user_id, HeldName { claim_id, .. }: HeldName| {
            IdentifierCommand::Confirm(Confirm { user_id, claim_id })
        };
        let confirmed = self.of_names(claims, confirm, context).await;
        let failed = confirmed.iter().filter(|outcome| outcome.is_err()).count();
        if failed > 0 {
            // The names are the users', and that is the answer; the names follow.
            self.leave_open();
            tracing::warn!("{failed} names could not be confirmed yet");
        }
    }

    /// As `withdraw` does it for one.
    async fn withdraw_all(&self, refused: Vec<(Step, Problem)>, context: &CommandContext) -> Vec<Refused> {
        let claims = refused.iter().map(|(step, _)| &step.registration.claim);
        let shared = claims.filter(|claim| claim.shared);
        let orders: Vec<_> = shared
            .map(|claim| Order {
                id: claim.user.to_string(),
                command: UserCommand::AbandonClaim(AbandonClaim { claim_id: claim.id }),
                new_data_key: None,
            })
            .collect();
        let mut abandoned = self.bus.execute_all::<User>(orders, context).await.into_iter();
        let (mut over, mut were_tried) = (Vec::new(), Vec::new());
        for (step, problem) in &refused {
            let claim = &step.registration.claim;
            let outcome = if claim.shared { abandoned.next() } else { None };
            // What is given up just now was no earlier try's; that may have registered another row.
            let is_new = matches!(outcome, Some(Ok(Done { is_new: true, .. })));
            were_tried.push(claim.shared && (!is_new || problem.kind == ProblemType::Conflict));
            if outcome.is_none_or(|outcome| outcome.is_ok()) {
                over.push(claim);
            }
        }
        let release = |user_id, HeldName { claim_id, .. }: HeldName| {
            IdentifierCommand::Release(Release { user_id, claim_id })
        };
        let released = self.of_names(over, release, context).await;
        let failed = released.iter().filter(|outcome| outcome.is_err()).count();
        if failed > 0 {
            tracing::warn!("{failed} reservations could not be given back; they will expire");
        }
        let refused = refused.into_iter().zip(were_tried);
        refused
            .map(|((step, problem), was_tried)| Refused {
                step,
                problem,
                was_tried,
            })
            .collect()
    }

    async fn register_alone(&self, steps: Vec<Step>, context: &CommandContext) -> Vec<(usize, Outcome)> {
        let alone = steps.into_iter().map(async |Step { place, registration }| {
            (place, self.register_one(registration, context).await)
        });
        futures::stream::iter(alone)
            .buffer_unordered(ALONE)
            .collect()
            .await
    }

    /// One of many that goes alone.
    pub async fn register_one(&self, registration: Registration, context: &CommandContext) -> Outcome {
        let Registration {
            claim,
            registered,
            new_data_key,
        } = registration;
        let command = UserCommand::Register(Box::new(Register {
            registration: registered,
        }));
        let context = CommandContext {
            new_data_key: Some(new_data_key),
            ..context.clone()
        };
        self.commit(claim, command, context).await.map(Done::from)
    }

    /// A command to each name of each claim; the outcomes come in that order.
    async fn of_names<'a>(
        &self,
        claims: impl IntoIterator<Item = &'a Claim>,
        command: impl Fn(UserId, HeldName) -> IdentifierCommand,
        context: &CommandContext,
    ) -> Vec<Result<Done, BusError<identifier::Error>>> {
        let orders = claims.into_iter().flat_map(|claim| {
            let command = &command;
            claim.held().map(move |name| Order {
                id: name.index.to_hex(),
                command: command(claim.user, name),
                new_data_key: None,
            })
        });
        let orders = orders.collect();
        self.bus.execute_all::<Identifier>(orders, context).await
    }
}
