//! Guarding passwords against guessing, wherever one is asked for: failures are recorded, and enough
//! of them lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use domain::user::{self, FOLDED_FOR, RecordLoginFailure, User, UserCommand, WriteLoginFailures};
use event_log::{Bus, BusError, CommandContext};
use parking_lot::Mutex;
use schemas::user::LoginFailed;
use schemas::{BlindIndex, DeviceId, RequestId, Timestamp, UserId};
use service_kit::problem::Problem;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::call::OpenCall;
use crate::refusals::problem;
use crate::sealing::Seal;

/// Users at most whose owner is reminded to write what it has folded. Of one more it is written with
/// the next failure or sign-in.
const REMINDERS: usize = 10_000;

impl App {
    /// Refuses to look at any password while sign-in is locked for whoever comes from this device.
    pub fn refuse_locked(&self, state: &User, device: Option<DeviceId>) -> Result<(), Problem> {
        refuse_until(state.locked_for(device, Timestamp::now()))
    }

    /// The same for a name that nobody has.
    pub fn refuse_locked_decoy(&self, index: BlindIndex) -> Result<(), Problem> {
        refuse_until(self.decoys.locked(index, Timestamp::now()))
    }

    /// See [`state_of`].
    pub async fn state_of(&self, user: UserId, refuses: impl Fn(&User) -> bool) -> Result<User, Problem> {
        state_of(&self.bus, user, refuses).await
    }

    /// Runs a command made by [`wrong_password`].
    pub async fn record_failure(
        self: &Arc<Self>,
        user: UserId,
        failure: UserCommand,
        context: CommandContext,
    ) -> Result<(), BusError<user::Error>> {
        // A wrong password must never meet the stored answer of a right one.
        let context = CommandContext {
            idempotency: None,
            ..context
        };
        let receipt = self
            .bus
            .execute::<User>(&user.to_string(), failure, context)
            .await?;
        metrics::counter!("password_attempts_failed_total").increment(1);
        if receipt.records.is_empty() {
            self.remind(user);
        }
        Ok(())
    }

    /// As [`Self::record_failure`], while the caller is answered.
    pub async fn record_failure_aside(
        self: &Arc<Self>,
        user: UserId,
        failure: UserCommand,
        context: CommandContext,
    ) {
        let recording = self.recordings.begin(user).await;
        let app = Arc::clone(self);
        self.sagas.spawn(async move {
            match app.record_failure(user, failure, context).await {
                // Others were quicker: what they did counts for this one too.
                Ok(()) | Err(BusError::Refused(_)) => {}
                Err(error) => tracing::warn!(user.id = %user, "A failed sign-in of user {user} is not recorded: {error}"),
            }
            drop(recording);
        });
    }

    /// The owner folded the failure. Unless something comes that takes it along, it is written when
    /// the failures have stopped for as long as they are folded.
    fn remind(self: &Arc<Self>, user: UserId) {
        if !self.reminders.note(user) {
            return;
        }
        let app = Arc::clone(self);
        self.sagas.spawn(async move {
            app.reminders.due(user).await;
            let command = UserCommand::WriteLoginFailures(WriteLoginFailures {});
            let context = CommandContext::system(RequestId::new_v7());
            let id = user.to_string();
            if let Err(error) = app.bus.execute::<User>(&id, command, context).await {
                tracing::debug!(user.id = %user, "Folded failures of user {user} stay so for now: {error}");
            }
        });
    }
}

/// A user's state, proven if it `refuses`: what is refused from memory, with no command to follow, must be
/// as true as a command's outcome, and the first to answer may be an owner that was just replaced.
pub async fn state_of(bus: &Bus, user: UserId, refuses: impl Fn(&User) -> bool) -> Result<User, Problem> {
    let id = user.to_string();
    let found = bus.inspect::<User>(&id).await.map_err(problem)?.aggregate;
    if !refuses(&found) {
        return Ok(found);
    }
    let proven = bus.inspect_proven::<User>(&id).await.map_err(problem)?;
    Ok(proven.aggregate)
}

/// Users whose owner has folded failures, with the time of the last.
#[derive(Default)]
pub struct Reminders {
    last_folded: Mutex<HashMap<UserId, Instant>>,
    hurry: CancellationToken,
}

impl Reminders {
    /// The service stops: everything is due now.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// True if the user was not noted yet.
    fn note(&self, user: UserId) -> bool {
        let mut last_folded = self.last_folded.lock();
        let has_room = last_folded.len() < REMINDERS;
        match last_folded.entry(user) {
            Entry::Occupied(mut known) => {
                known.insert(Instant::now());
                false
            }
            Entry::Vacant(new) if has_room => {
                new.insert(Instant::now());
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    async fn due(&self, user: UserId) {
        loop {
            let last = self.last_folded.lock().get(&user).copied();
            let due = last.unwrap_or_else(Instant::now) + FOLDED_FOR;
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.hurry.cancelled() => {}
            }
            let mut last_folded = self.last_folded.lock();
            if last_folded.get(&user).copied() == last || self.hurry.is_cancelled() {
                last_folded.remove(&user);
                return;
            }
        }
    }
}

fn refuse_until(locked: Option<Timestamp>) -> Result<(), Problem> {
    let Some(until) = locked else {
        return Ok(());
    };
    metrics::counter!("password_attempts_locked_total").increment(1);
    Err(problem(BusError::Refused(user::Error::Locked { until })))
}

/// What a password that did not fit these credentials leaves with the user's owner.
pub fn wrong_password(
    call: &OpenCall,
    seal: &Seal,
    credentials: i64,
    device: Option<DeviceId>,
) -> Result<UserCommand, Problem> {
    let client = seal.client(&call.client)?;
    let now = Timestamp::now();
    let failure = LoginFailed {
        count: 1,
        first_at: now,
        last_at: now,
        known_devices: Vec::new(),
        ip_network: client.ip_network,
        ip_address: client.ip_address,
        user_agent: client.user_agent,
    };
    Ok(UserCommand::RecordLoginFailure(RecordLoginFailure {
        failure,
        credentials,
        device,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_has_one_reminder_and_all_are_due_when_the_service_stops() {
        let (reminders, user) = (Reminders::default(), UserId::new_v7());
        assert!(reminders.note(user));
        assert!(!reminders.note(user));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), reminders.due(user));
        assert!(waited.await.is_err());
        reminders.hurry();
        reminders.due(user).await;
        assert!(reminders.note(user));
    }

    #[test]
    fn reminders_are_bounded() {
        let reminders = Reminders::default();
        for _ in 0..REMINDERS {
            assert!(reminders.note(UserId::new_v7()));
        }
        assert!(!reminders.note(UserId::new_v7()));
    }
}
