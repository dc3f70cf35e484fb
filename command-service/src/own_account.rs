//! Calls about one's own account that must not rest on an access token alone: the owner's exact state,
//! and the password asked for again.

use std::sync::Arc;

use domain::user::User;
use event_log::Receipt;
use schemas::user::UserEvent;
use schemas::{DeviceId, SessionId, UserId, sealed_field as field};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::attempts::Account;
use crate::call::Call;
use crate::guesses::wrong_password;
use crate::refusals::problem;
use crate::sealing::Seal;

/// The caller's own account, as its owner has it.
pub struct OwnAccount {
    pub user: UserId,
    pub state: User,
    pub seal: Seal,
    /// The one that calls.
    pub session: SessionId,
    /// Its.
    pub device: DeviceId,
}

impl App {
    /// Lets people pass on their own account, in a session that lives. Counts as an attempt, and is
    /// refused while sign-in is locked for the caller's device.
    pub async fn own_account(&self, call: &Call, user: UserId) -> Result<OwnAccount, Problem> {
        self.await_demanded(call).await?;
        if call.caller.user_id != user {
            return Err(Problem::new(ProblemType::Forbidden).detail("this is for the account's owner"));
        }
        let session = call.caller.session()?;
        let (state, device) = self.caller_state(call).await?;
        self.attempts
            .admit(call.open.client.address, Some(Account::User(user)), Some(device))?;
        self.refuse_locked(&state, Some(device))?;
        Ok(OwnAccount {
            user,
            seal: self.seal_of(user).await?,
            state,
            session,
            device,
        })
    }

    /// Asks for the password again. A wrong one counts as a guess, as at sign-in.
    pub async fn prove_password(
        self: &Arc<Self>,
        call: &Call,
        own: &OwnAccount,
        password: &str,
    ) -> Result<(), Problem> {
        let account = own.state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
        let phc = own.seal.open(field::PASSWORD_HASH, &account.password_hash)?;
        if self.passwords.verify(password.to_owned(), phc).await? {
            return Ok(());
        }
        self.record_guess(call, own).await?;
        Err(Problem::new(ProblemType::InvalidCredentials).detail("the password is wrong"))
    }

    /// A wrong password or factor of somebody who is signed in.
    pub async fn record_guess(self: &Arc<Self>, call: &Call, own: &OwnAccount) -> Result<(), Problem> {
        let failure = wrong_password(&call.open, &own.seal, own.state.credentials, Some(own.device))?;
        let context = call.context(self, "guess", &own.user, Vec::new());
        self.record_failure(own.user, failure, context)
            .await
            .map_err(problem)
    }

    /// The answer of an earlier try, if the call has its idempotency key.
    pub async fn first_answer(
        &self,
        call: &Call,
        user: UserId,
        operation: &str,
        request: &impl serde::Serialize,
    ) -> Result<Option<Receipt<UserEvent>>, Problem> {
        let context = call.context(self, operation, request, Vec::new());
        self.replayed(user, &context).await
    }
}
