//! Registering, renaming and erasing run to their end even if the caller hangs up; see [`crate::names`].

use std::sync::Arc;
use std::time::Duration;

use domain::user::{ChangeProfile, Erase, Register, User, UserCommand};
use event_log::{CommandContext, Receipt};
use schemas::UserId;
use schemas::identifier::IdentifierKind;
use schemas::user::{UserEvent, UserRegistered};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::names::Claim;
use crate::refusals::problem;

/// Up to seven commands, each of which may wait for its ledger's next owner.
const LONGEST: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(1);

impl App {
    /// `shared`: see [`Claim::shared`].
    pub async fn register(
        self: &Arc<Self>,
        registration: UserRegistered,
        context: CommandContext,
        shared: bool,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let app = Arc::clone(self);
        self.to_its_end(async move { app.run_registration(registration, context, shared).await })
            .await
    }

    /// For whoever sees to it that it runs to its end.
    pub(crate) async fn run_registration(
        &self,
        registration: UserRegistered,
        context: CommandContext,
        shared: bool,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let claim = Claim {
            user: registration.user_id,
            id: registration.claim_id,
            names: vec![
                (IdentifierKind::Email, registration.email_index),
                (IdentifierKind::Username, registration.username_index),
            ],
            shared,
        };
        let command = UserCommand::Register(Box::new(Register { registration }));
        self.commit_new(claim, command, context).await
    }

    /// The user event of somebody new, whose data key comes along.
    pub(crate) async fn commit_new(
        &self,
        claim: Claim,
        command: UserCommand,
        context: CommandContext,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let user = claim.user;
        let wrapped = context.new_data_key.as_ref().map(|key| key.wrapped.clone());
        let receipt = self.names.commit(claim, command, context).await?;
        if let Some(wrapped) = wrapped.filter(|_| !receipt.records.is_empty() && !receipt.replayed) {
            self.keys.insert(user, wrapped);
        }
        Ok(receipt)
    }

    /// Former names are free when this returns, unless a ledger fails meanwhile: then soon.
    pub async fn change_profile(
        self: &Arc<Self>,
        claim: Claim,
        change: ChangeProfile,
        context: CommandContext,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let app = Arc::clone(self);
        self.to_its_end(async move {
            let command = UserCommand::ChangeProfile(Box::new(change));
            let (user, gives_up) = (claim.user, !claim.names.is_empty());
            let receipt = app.names.commit(claim, command, context.clone()).await?;
            if gives_up {
                // The profile is changed, and that is the answer.
                app.names.release_given_up(user, context).await.unwrap_or(());
            }
            Ok(receipt)
        })
        .await
    }

    /// The key goes with the event, and from this process at once; the names are free after it.
    pub async fn erase(
        self: &Arc<Self>,
        user: UserId,
        credentials: Option<i64>,
        context: CommandContext,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let app = Arc::clone(self);
        self.to_its_end(async move {
            let command = UserCommand::Erase(Erase { credentials });
            let receipt = app
                .bus
                .execute::<User>(&user.to_string(), command, context.clone())
                .await
                .map_err(problem)?;
            app.keys.destroy(user);
            // The person is erased, and that is the answer.
            app.names.release_given_up(user, context).await.unwrap_or(());
            Ok(receipt)
        })
        .await
    }

    /// Waits for a saga that goes on when nobody waits for it any more.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        saga: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        match tokio::time::timeout(LONGEST, self.sagas.spawn(saga)).await {
            Ok(ended) => ended.unwrap_or_else(|error| Err(Problem::internal(&error))),
            // It goes on; only the caller waits no longer.
            Err(_) => Err(Problem::new(ProblemType::OutcomeUnknown).retry_after(SOON)),
        }
    }
}
