//! Registrations under an idempotency key of which an earlier try has left something.
//!
//! A try that found a name taken has given its claim up, and a claim that was given up is refused for ever. So the tries
//! under one key have one claim after the other: each the first that none of them gave up.

use domain::user::{Status, User};
use event_log::{CommandContext, Done};
use schemas::user::UserRegistered;
use schemas::{ClaimId, Sha256Digest};
use service_kit::problem::{Problem, ProblemType};

use super::{Claim, Names, Registration};
use crate::endpoints::register::derived;
use crate::refusals::{SOON, problem};

impl Names {
    /// What a registration comes to that was refused, by what the ledger of its user says of earlier tries: it is there
    /// already, it is another's, or it can be made now.
    pub(super) async fn settle_again(
        &self,
        registration: Registration,
        refused: Problem,
        context: &CommandContext,
    ) -> Result<Done, Problem> {
        let id = registration.claim.user.to_string();
        let found = self.bus.inspect::<User>(&id).await.map_err(problem)?;
        let user = &found.aggregate;
        let open = open_claim(user, registration.claim.id);
        let is_taken = refused.kind != ProblemType::Conflict;
        match user.status() {
            Status::Active | Status::Deactivated if user.uses(open) => Ok(Done {
                last: found.last,
                is_new: false,
            }),
            _ if is_taken => Err(refused),
            Status::Active | Status::Deactivated => Err(ProblemType::IdempotencyMismatch.into()),
            Status::Erased => Err(refused.detail("who was registered under this key was erased since")),
            Status::Unregistered => {
                let again = self.commit_one(registration.under(open), context).await;
                again.map_err(not_a_mismatch)
            }
        }
    }
}

/// Another try at this moment has given the same claim up: a further one finds the next.
fn not_a_mismatch(refused: Problem) -> Problem {
    match refused.kind {
        ProblemType::Conflict => Problem::new(ProblemType::NotApplied).retry_after(SOON),
        _ => refused,
    }
}

impl Registration {
    pub(super) fn under(self, id: ClaimId) -> Self {
        Self {
            claim: Claim { id, ..self.claim },
            registered: UserRegistered {
                claim_id: id,
                ..self.registered
            },
            new_data_key: self.new_data_key,
        }
    }
}

/// The claim of the next try: no claim comes twice in the row, which so ends before what was given up does.
fn open_claim(user: &User, first: ClaimId) -> ClaimId {
    let mut claim = first;
    while user.abandoned_claims.contains(&claim) {
        claim = next(claim);
    }
    claim
}

fn next(claim: ClaimId) -> ClaimId {
    derived(Sha256Digest::of(claim.as_uuid().as_bytes()).0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_claim_is_the_first_that_was_not_given_up() {
        let first = ClaimId::new_v7();
        let mut user = User::default();
        assert_eq!(open_claim(&user, first), first);
        user.abandoned_claims.extend([first, next(first)]);
        assert_eq!(open_claim(&user, first), next(next(first)));
        let anothers = ClaimId::new_v7();
        assert_eq!(open_claim(&user, anothers), anothers);
    }
}
