//! Guarding passwords against guessing, wherever one is asked for: failures are recorded, and enough
//! of them lock.

use domain::user::{self, RecordLoginFailure, User, UserCommand};
use event_log::{BusError, CommandContext};
use schemas::user::LoginFailed;
use schemas::{Timestamp, UserId};
use service_kit::problem::Problem;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::problem;
use crate::sealing::Seal;

impl App {
    /// Refuses to look at any password while sign-in is locked.
    pub async fn refuse_locked(&self, user: UserId, state: &User) -> Result<(), Problem> {
        let Some(until) = state.locked_at(Timestamp::now()) else {
            return Ok(());
        };
        self.prove(user).await?;
        Err(problem(BusError::Refused(user::Error::Locked { until })))
    }

    /// What is refused from memory, with no command to follow, must be as true as a command's outcome.
    pub async fn prove(&self, user: UserId) -> Result<(), Problem> {
        let proven = self.bus.inspect_proven::<User>(&user.to_string()).await;
        proven.map(drop).map_err(problem)
    }

    /// Runs a command made by [`wrong_password`].
    pub async fn record_failure(
        &self,
        user: UserId,
        failure: UserCommand,
        context: CommandContext,
    ) -> Result<(), BusError<user::Error>> {
        // A wrong password must never meet the stored answer of a right one.
        let context = CommandContext {
            idempotency: None,
            ..context
        };
        self.bus
            .execute::<User>(&user.to_string(), failure, context)
            .await
            .map(drop)
    }
}

/// What a password that did not fit these credentials leaves in the log.
pub fn wrong_password(call: &OpenCall, seal: &Seal, credentials: i64) -> Result<UserCommand, Problem> {
    let client = seal.client(&call.client)?;
    let now = Timestamp::now();
    let failure = LoginFailed {
        count: 1,
        first_at: now,
        last_at: now,
        ip_network: client.ip_network,
        ip_address: client.ip_address,
        user_agent: client.user_agent,
    };
    Ok(UserCommand::RecordLoginFailure(RecordLoginFailure {
        failure,
        credentials,
    }))
}
