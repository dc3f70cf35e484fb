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
        if self.credentials != user.credentials {
            return Err(Error::CredentialsChanged);
        }
        Ok(vec![UserEvent::PasswordChanged(PasswordChanged {
            password_hash: self.password_hash,
            revoked_sessions: user.live_session_ids(ctx.now, self.keep),
            cause: PasswordChangeCause::Change,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, logged_in, registered, sealed, session, user_deactivated};

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
            })]);
        let changed = signed_in().and(change(1));
        let user = changed.state();
        assert_eq!(user.account.as_ref().unwrap().password_hash, sealed("new"));
        assert_eq!(user.sessions.keys().collect::<Vec<_>>(), [&session(2)]);
        assert_eq!(user.credentials, 2);
    }

    #[test]
    fn of_two_changes_from_one_password_the_first_wins() {
        let changed = given([registered()]).and(change(1));
        changed.when(change(1)).then_error(Error::CredentialsChanged);
    }

    #[test]
    fn only_active_users_change_their_password() {
        given([]).when(change(0)).then_error(Error::NotFound);
        let deactivated = [registered(), user_deactivated()];
        given(deactivated).when(change(1)).then_error(Error::Deactivated);
    }
}
