//! Finishing what a crash or a broker's fault left open between a user's event and its names.
//!
//! The user event is the commit point, so the names are the user's already, or no longer; but whoever
//! reads the identifiers alone, as the look-up tables do, learns it from them only.

use domain::identifier::{Holder, Identifier};
use domain::user::User;
use event_log::CommandContext;
use schemas::user::HeldName;
use schemas::{BlindIndex, RequestId, Sha256Digest};
use service_kit::problem::Problem;

use crate::guesses::state_of;
use crate::names::Names;

/// What became of a name found reserved.
#[derive(PartialEq, Eq)]
enum Finished {
    Confirmed,
    Released,
    /// Its user event may still come; a contender settles it.
    Left,
}

impl Names {
    /// Confirms each reserved name that is a user's under the very claim, and releases what users have
    /// given up. Safe to repeat. A name whose user event never came is left to whoever contends for it.
    pub async fn finish_open(&self) {
        self.finish_reserved().await;
        self.finish_given_up().await;
    }

    async fn finish_reserved(&self) {
        let (reserved, all_seen) = self.bus().at_rest::<Identifier>(|_| true);
        if !all_seen {
            self.leave_open();
        }
        for (index, identifier) in reserved {
            let Some(holder) = identifier.holder() else {
                continue;
            };
            let user = holder.user_id;
            match self.finish(&index, holder).await {
                Ok(Finished::Left) => {}
                Ok(Finished::Confirmed) => {
                    tracing::info!(user.id = %user, "Confirmed a name that a fault left reserved")
                }
                Ok(Finished::Released) => {
                    tracing::info!(user.id = %user, "Released a name that was reserved too late to be used")
                }
                Err(problem) => {
                    self.leave_open();
                    tracing::warn!(
                        status = %problem.status(), user.id = %user, "A reserved name could not be settled yet"
                    );
                }
            }
        }
    }

    async fn finish(&self, index: &str, holder: &Holder) -> Result<Finished, Problem> {
        let Ok(digest) = Sha256Digest::from_hex(index) else {
            return Ok(Finished::Left);
        };
        let name = HeldName {
            kind: holder.kind,
            index: BlindIndex(digest),
            claim_id: holder.claim_id,
        };
        let user = holder.user_id;
        let state = state_of(self.bus(), user, |state| !state.holds(name)).await?;
        let context = CommandContext::system(RequestId::new_v7());
        if state.holds(name) {
            self.confirm(user, name, &context).await?;
            return Ok(Finished::Confirmed);
        }
        if state.uses(name.claim_id) {
            // Each claim has one user event, and that was it.
            self.release(user, name, &context).await?;
            return Ok(Finished::Released);
        }
        Ok(Finished::Left)
    }

    async fn finish_given_up(&self) {
        let (users, all_seen) = self.bus().at_rest::<User>(|user| !user.given_up.is_empty());
        if !all_seen {
            self.leave_open();
        }
        for (id, _) in users {
            let Ok(user) = id.parse() else { continue };
            let context = CommandContext::system(RequestId::new_v7());
            if self.release_given_up(user, context).await.is_ok() {
                tracing::info!(user.id = %user, "Released names of user {user} that a fault left taken");
            }
        }
    }
}
