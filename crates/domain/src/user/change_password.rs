//! Change the password; sessions other than the asking one end with it.

use schemas::user::{PasswordChangeCause, PasswordChanged, UserEvent};
use schemas::{Sealed, SessionId};
use serde::{Deserialize, Serialize};

use super::{Error, User};
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
        if let Some(session) = self.keep {
            user.assured(session, ctx.now)?;
        }
        if self.credentials != user.credentials {
            return Err(Error::CredentialsChanged);
        }
        Ok(vec![UserEvent::PasswordChanged(PasswordChanged {
            password_hash: self.password_hash,
            revoked_sessions: user.live_session_ids(ctx.now, self.keep),
            cause: PasswordChangeCause::Change,
            known_device: None,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, given, logged_in, minutes, registered, sealed, session, user_deactivated, with_totp,
    };
    use crate::user::MAX_REMEMBERED_PASSWORDS;

    fn change(credentials: i64) -> ChangePassword {
        ChangePassword {
            password_hash: sealed("new"),
            credentials,
            keep: Some(session(2)),
        }
    }

    #[test]
    fn other_sessions_end_with_the_old_password() {
        let signed_in = || given([registered(), logged_in(session(1)), logged_in(session(2))]);
        signed_in()
            .when(change(1))
            .then([UserEvent::PasswordChanged(PasswordChanged {
                password_hash: sealed("new"),
                revoked_sessions: vec![session(1)],
                cause: PasswordChangeCause::Change,
                known_device: None,
            })]);
        let changed = signed_in().and(change(1));
        let user = changed.state();
        assert_eq!(user.account.as_ref().unwrap().password_hash, sealed("new"));
        assert_eq!(user.sessions.keys().collect::<Vec<_>>(), [&session(2)]);
        assert_eq!(user.credentials, 2);
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
        let changed = given([registered()]).and(change(1));
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
