//! Change the password; sessions other than the asking one end with it, and devices other than its are forgotten.

use schemas::user::{PasswordChangeCause, PasswordChanged, UserEvent};
use schemas::{DeviceId, Sealed, SessionId};
use serde::{Deserialize, Serialize};

use super::{Device, Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePassword {
    pub password_hash: Sealed,
    /// [`User::credentials`] that the old password was checked against.
    pub credentials: i64,
    /// The session that asks for the change.
    pub keep: Option<SessionId>,
}

impl Decide<User> for ChangePassword {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let mut known_device = None;
        if let Some(id) = self.keep {
            let session = user.session(id, ctx.now).ok_or(Error::SessionEnded)?;
            user.assured(id, ctx.now)?;
            known_device = Some(session.device_id);
        }
        if self.credentials != user.credentials {
            return Err(Error::CredentialsChanged);
        }
        let changed = UserEvent::PasswordChanged(PasswordChanged {
            password_hash: self.password_hash,
            revoked_sessions: user.live_session_ids(ctx.now, self.keep),
            cause: PasswordChangeCause::Change,
            known_device,
        });
        // First: behind the change they would count against the device that it knows.
        Ok(user.unwritten_failures().into_iter().chain([changed]).collect())
    }
}

impl User {
    /// Changed or reset.
    pub(super) fn change_password(&mut self, event: &PasswordChanged) {
        self.sent.password_reset = None;
        if let Some(account) = &mut self.account {
            account.change_password(&event.password_hash);
        }
        self.credentials = self.credentials.saturating_add(1);
        self.end_sessions(&event.revoked_sessions);
        if event.cause == PasswordChangeCause::Reset {
            self.sessions.clear();
        }
        match event.known_device {
            Some(id) => self.know_only(id, event.cause),
            None => self.forget_sessionless_devices(),
        }
    }

    /// Whoever knew the former password may be a thief, and so may whoever has the token of a device.
    fn know_only(&mut self, id: DeviceId, cause: PasswordChangeCause) {
        let before = self.devices.drain(..).find(|device| device.id == id);
        self.devices.push(Device {
            id,
            failures: 0,
            place: before.map(|device| device.place).unwrap_or_default(),
            // A session asks for a change, and it began at its device.
            has_signed_in: cause == PasswordChangeCause::Change,
        });
    }

    /// For events from before a change named its device. None tells when a session expires, so one that has still counts.
    fn forget_sessionless_devices(&mut self) {
        let sessions = &self.sessions;
        self.devices
            .retain(|device| sessions.values().any(|session| session.device_id == device.id));
    }
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use schemas::user::{DeviceFailures, LoginFailed, UserLoggedIn};

    use super::*;
    use crate::testing::{
        Given, device, given, logged_in, login, login_failure, minutes, registered, sealed, session,
        user_deactivated, with_totp,
    };
    use crate::user::{MAX_REMEMBERED_PASSWORDS, RecordLoginFailure};

    fn change(credentials: i64) -> ChangePassword {
        ChangePassword {
            password_hash: sealed("new"),
            credentials,
            keep: Some(session(2)),
        }
    }

    fn signed_in() -> Given<User> {
        given([registered(), logged_in(session(1)), logged_in(session(2))])
    }

    /// From a device of the session's number.
    fn began(number: u128, expires_at: Timestamp) -> UserEvent {
        UserEvent::LoggedIn(UserLoggedIn {
            device_id: device(number),
            ..login(session(number), expires_at)
        })
    }

    fn known(user: &User) -> Vec<DeviceId> {
        user.devices.iter().map(|device| device.id).collect()
    }

    #[test]
    fn other_sessions_end_with_the_old_password() {
        signed_in()
            .when(change(1))
            .then([UserEvent::PasswordChanged(PasswordChanged {
                password_hash: sealed("new"),
                revoked_sessions: vec![session(1)],
                cause: PasswordChangeCause::Change,
                known_device: Some(device(1)),
            })]);
        let changed = signed_in().and(change(1));
        let user = changed.state();
        assert_eq!(user.account.as_ref().unwrap().password_hash, sealed("new"));
        assert_eq!(user.sessions.keys().collect::<Vec<_>>(), [&session(2)]);
        assert_eq!(user.credentials, 2);
    }

    #[test]
    fn all_devices_are_forgotten_but_the_one_that_the_change_is_made_from() {
        let before = || {
            given::<User>([
                registered(),
                began(1, minutes(5)),
                began(2, minutes(60)),
                began(3, minutes(60)),
            ])
            .at(minutes(10))
        };
        // The first has only a session that expired, which no event tells.
        assert_eq!(known(before().state()), [device(1), device(2), device(3)]);
        let changed = before().and(change(1));
        assert_eq!(known(changed.state()), [device(2)]);
        let guessed = changed.and(RecordLoginFailure {
            failure: login_failure(5),
            credentials: 2,
            device: Some(device(1)),
        });
        let locked_for = |number| guessed.state().locked_for(Some(device(number)), minutes(10));
        assert!(locked_for(1).is_some() && locked_for(3).is_some());
        assert_eq!(locked_for(2), None);
    }

    #[test]
    fn the_device_that_the_change_is_made_from_is_known_whatever_failed_there() {
        let failed = |count| {
            UserEvent::LoginFailed(LoginFailed {
                known_devices: vec![DeviceFailures {
                    device_id: device(2),
                    count,
                }],
                ..login_failure(count)
            })
        };
        let after = |count| given::<User>([registered(), began(2, minutes(60)), failed(count)]);
        assert!(known(after(5).state()).is_empty());
        for count in [4, 5] {
            let changed = after(count).and(change(1));
            let device = changed.state().device(device(2)).unwrap();
            assert_eq!((device.failures, device.has_signed_in), (0, true));
        }
    }

    #[test]
    fn a_change_that_names_no_device_leaves_those_with_a_session() {
        let changed = UserEvent::PasswordChanged(PasswordChanged {
            password_hash: sealed("new"),
            revoked_sessions: vec![session(1)],
            cause: PasswordChangeCause::Change,
            known_device: None,
        });
        let began = |number| began(number, minutes(60));
        let user = given::<User>([registered(), began(1), began(2), changed]);
        assert_eq!(known(user.state()), [device(2)]);
    }

    #[test]
    fn a_session_that_has_ended_changes_nothing() {
        signed_in()
            .at(minutes(60))
            .when(change(1))
            .then_error(Error::SessionEnded);
        let foreign = ChangePassword {
            keep: Some(session(3)),
            ..change(1)
        };
        signed_in().when(foreign).then_error(Error::SessionEnded);
    }

    #[test]
    fn the_last_passwords_are_remembered_and_no_more() {
        let number = |number: usize| ChangePassword {
            password_hash: sealed(&format!("hash {number}")),
            credentials: i64::try_from(number).unwrap(),
            keep: None,
        };
        let changed = (1..40).map(number).fold(given([registered()]), Given::and);
        let account = changed.state().account.as_ref().unwrap();
        let last = |count| account.remembered_hashes(count).cloned().collect::<Vec<_>>();
        assert_eq!(last(3), [sealed("hash 39"), sealed("hash 38"), sealed("hash 37")]);
        assert_eq!(last(100).len(), MAX_REMEMBERED_PASSWORDS);
        assert_eq!(last(0), []);
    }

    #[test]
    fn of_two_changes_from_one_password_the_first_wins() {
        let changed = signed_in().and(change(1));
        changed.when(change(1)).then_error(Error::CredentialsChanged);
    }

    #[test]
    fn whoever_has_a_second_factor_shows_it_first() {
        let change = || ChangePassword {
            keep: Some(session(1)),
            ..change(2)
        };
        let changed = with_totp().and(change());
        assert_eq!(changed.state().credentials, 3);
        with_totp()
            .at(minutes(10))
            .when(change())
            .then_error(Error::StepUpRequired);
    }

    #[test]
    fn only_active_users_change_their_password() {
        given([]).when(change(0)).then_error(Error::NotFound);
        let deactivated = [registered(), user_deactivated()];
        given(deactivated).when(change(1)).then_error(Error::Deactivated);
    }
}
