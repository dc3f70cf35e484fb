//! Commits under an idempotency key of which an earlier try has left something.
//!
//! A try that found a name taken has given its claim up, and a claim that was given up is refused for ever. So the tries
//! under one key have one claim after the other: each the first that none of them gave up.

use domain::identifier::Identifier;
use domain::user::{Status, User, UserCommand};
use event_log::{CommandContext, Receipt};
use schemas::user::UserEvent;
use schemas::{ClaimId, Sha256Digest, Timestamp};
use service_kit::problem::{Problem, ProblemType};

use super::{Claim, Names, taken};
use crate::endpoints::register::derived;
use crate::refusals::{SOON, problem};

impl Names {
    /// Claims the names and records the user event that uses them, the commit point. Of tries that share it the claim is
    /// the first one. Who is there by an earlier try is found so, by a receipt without records.
    pub async fn commit(
        &self,
        claim: Claim,
        command: UserCommand,
        context: CommandContext,
    ) -> Result<Receipt<UserEvent>, Problem> {
        if !claim.shared {
            return self.commit_once(&claim, command, context).await;
        }
        let id = claim.user.to_string();
        let found = self.bus.inspect::<User>(&id).await.map_err(problem)?;
        let (user, first) = (found.aggregate, claim.id);
        let claim = Claim {
            id: open_claim(&user, first),
            ..claim
        };
        let is_used = user.uses(claim.id);
        if !matches!(command, UserCommand::ChangeProfile(_)) {
            // What the log says of somebody registered or erased stays true.
            match user.status() {
                Status::Unregistered => {}
                Status::Active | Status::Deactivated if is_used => {
                    return Ok(Receipt {
                        records: Vec::new(),
                        replayed: false,
                        last: found.last,
                    });
                }
                Status::Active | Status::Deactivated => return Err(ProblemType::IdempotencyMismatch.into()),
                Status::Erased => {
                    let erased = Problem::new(ProblemType::Conflict);
                    return Err(erased.detail("who was registered under this key was erased since"));
                }
            }
        }
        if claim.id != first {
            self.refuse_taken(&claim).await?;
        }
        match self.commit_once(&claim, command.under(claim.id), context).await {
            // Another try was quicker, or has just given the same claim up: a further one sees what it left.
            Err(refused) if refused.kind == ProblemType::Conflict && !is_used => {
                Err(Problem::new(ProblemType::NotApplied).retry_after(SOON))
            }
            outcome => outcome,
        }
    }

    /// Asked before claiming again: else each try would give up one more claim for as long as somebody has the name.
    async fn refuse_taken(&self, claim: &Claim) -> Result<(), Problem> {
        let now = Timestamp::now();
        for name in claim.held() {
            let index = name.index.to_hex();
            let found = self.bus.inspect_proven::<Identifier>(&index).await;
            let found = found.map_err(problem)?.aggregate;
            let is_over = matches!(&found, Identifier::Reserved { expires_at, .. } if *expires_at <= now);
            let own = (claim.user, claim.id);
            let is_anothers = found.holder().is_some_and(|it| (it.user_id, it.claim_id) != own);
            if is_anothers && !is_over {
                return Err(taken(name.kind));
            }
        }
        Ok(())
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

pub(super) fn next(claim: ClaimId) -> ClaimId {
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
