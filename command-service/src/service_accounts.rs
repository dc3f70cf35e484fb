//! Service accounts: their creation claims a name as a registration does.

use std::sync::Arc;

use domain::user::{CreateServiceAccount, UserCommand};
use event_log::{CommandContext, NewDataKey, Receipt};
use schemas::identifier::IdentifierKind;
use schemas::user::{ServiceAccountCreated, UserEvent};
use schemas::{ClaimId, UserId, sealed_field as field};
use service_kit::problem::Problem;

use crate::app::App;
use crate::endpoints::register::malformed;
use crate::names::Claim;

impl App {
    /// The event of a new account, encrypted under a key made for it, which comes along wrapped.
    pub fn service_creation(
        &self,
        user_id: UserId,
        claim_id: ClaimId,
        name: &str,
    ) -> Result<(ServiceAccountCreated, NewDataKey), Problem> {
        let kind = IdentifierKind::Username;
        let username_index = self.index_key.index(kind, name).map_err(malformed)?;
        let (seal, key) = self.new_seal(user_id)?;
        let created = ServiceAccountCreated {
            user_id,
            claim_id,
            username: seal.seal(field::USERNAME, name.trim())?,
            username_index,
        };
        Ok((created, key))
    }

    /// `shared`: see [`Claim::shared`].
    pub async fn create_service_account(
        self: &Arc<Self>,
        created: ServiceAccountCreated,
        context: CommandContext,
        shared: bool,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let app = Arc::clone(self);
        self.to_its_end(async move {
            let claim = Claim {
                user: created.user_id,
                id: created.claim_id,
                names: vec![(IdentifierKind::Username, created.username_index)],
                shared,
            };
            let command = UserCommand::CreateServiceAccount(Box::new(CreateServiceAccount { created }));
            app.commit_new(claim, command, context).await
        })
        .await
    }
}
