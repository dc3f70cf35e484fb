//! The current password once more, where an access token alone must not be enough.

use std::sync::Arc;

use domain::user::User;
use event_log::CommandContext;
use schemas::{DeviceId, Timestamp, UserId, sealed_field as field};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::attempts::Account;
use crate::call::Call;
use crate::guesses::wrong_password;
use crate::refusals::problem;
use crate::sealing::Seal;

impl App {
    /// The caller's own state, exact, where the session of the token was looked up in a tail; and the
    /// device of that session. Passwords are not looked at while it is locked for this device.
    pub async fn caller_state(&self, call: &Call) -> Result<(User, DeviceId), Problem> {
        let (caller, session_id) = (call.caller, call.caller.session()?);
        let refuses = |state: &User| {
            let now = Timestamp::now();
            let session = state.session(session_id, now);
            session.is_none_or(|session| state.locked_for(Some(session.device_id), now).is_some())
        };
        let state = self.state_of(caller.user_id, refuses).await?;
        let session = state.session(session_id, Timestamp::now());
        let device = session.ok_or(ProblemType::SessionEnded)?.device_id;
        Ok((state, device))
    }

    /// Refuses a caller who does not know the password of the state, or who has a second factor and has shown
    /// none of late; guessing here counts like guessing at sign-in.
    pub async fn reauthenticate(
        self: &Arc<Self>,
        call: &Call,
        seal: &Seal,
        (state, device): (&User, DeviceId),
        password: Option<String>,
        context: &CommandContext,
    ) -> Result<(), Problem> {
        let user: UserId = call.caller.user_id;
        let password = password.ok_or_else(|| {
            Problem::new(ProblemType::InvalidBody).field("current_password", "this change needs it")
        })?;
        self.attempts
            .admit(call.open.client.address, Some(Account::User(user)), Some(device))?;
        self.refuse_locked(state, Some(device))?;
        let account = state.account.as_ref().ok_or(ProblemType::NoSuchUser)?;
        let phc = seal.open(field::PASSWORD_HASH, &account.password_hash)?;
        if self.passwords.verify(password, phc).await? {
            return self.assured_caller(call).await;
        }
        let failure = wrong_password(&call.open, seal, state.credentials, Some(device))?;
        self.record_failure(user, failure, context.clone())
            .await
            .map_err(problem)?;
        Err(Problem::new(ProblemType::InvalidCredentials).detail("the current password is wrong"))
    }
}
