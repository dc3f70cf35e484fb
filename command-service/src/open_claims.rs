//! Finishing what a crash or a broker's fault left open between a user's registration and its names'
//! confirmation.
//!
//! The registration is the commit point, so the names are the user's already; but whoever reads the
//! identifiers alone, as the look-up tables do, learns it from the confirmation only.

use std::sync::atomic::Ordering;

use domain::identifier::{Confirm, Holder, Identifier, IdentifierCommand};
use domain::user::User;
use event_log::CommandContext;
use schemas::RequestId;
use service_kit::problem::Problem;

use crate::app::App;
use crate::refusals::problem;

impl App {
    /// Confirms each reserved name whose user is registered under the very claim. Safe to repeat. A
    /// name whose user is not is left to whoever contends for it.
    pub async fn finish_open_claims(&self) {
        let (reserved, all_seen) = self.bus.reserved_identifiers();
        if !all_seen {
            self.claims_are_open.store(true, Ordering::Release);
        }
        for (index, identifier) in reserved {
            let Identifier::Reserved { holder, .. } = identifier else {
                continue;
            };
            match self.finish(&index, &holder).await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(user.id = %holder.user_id, "Confirmed a name that a fault left reserved")
                }
                Err(problem) => {
                    self.claims_are_open.store(true, Ordering::Release);
                    tracing::warn!(
                        status = %problem.status(), user.id = %holder.user_id, "A reserved name could not be settled yet"
                    );
                }
            }
        }
    }

    async fn finish(&self, index: &str, holder: &Holder) -> Result<bool, Problem> {
        let (user_id, claim_id) = (holder.user_id, holder.claim_id);
        let is_another = |user: &User| {
            let account = user.account.as_ref();
            account.is_none_or(|account| account.claim_id != claim_id)
        };
        if is_another(&self.state_of(user_id, is_another).await?) {
            return Ok(false);
        }
        let command = IdentifierCommand::Confirm(Confirm { user_id, claim_id });
        let context = CommandContext::system(RequestId::new_v7());
        self.bus
            .execute::<Identifier>(index, command, context)
            .await
            .map_err(problem)?;
        Ok(true)
    }
}
