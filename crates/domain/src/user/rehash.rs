//! Make the hash of a password anew: the password stays, and so does everything that rests on it.

use schemas::Sealed;
use schemas::user::{PasswordRehashed, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// Another hash of the same password: nobody is signed out, and who checked the password against the former hash may
/// still sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehash {
    pub password_hash: Sealed,
    /// The hash that the password was found to fit. If another one has come in its place, nothing is left to do.
    pub replaced: Sealed,
}

impl Decide<User> for Rehash {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let account = user.active()?;
        if account.password_hash != self.replaced {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::PasswordRehashed(PasswordRehashed {
            password_hash: self.password_hash,
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        given, logged_in, login, minutes, registered, registration, sealed, session, user_deactivated,
    };
    use crate::user::{ChangePassword, LogIn, MAX_SESSIONS};

    fn rehash() -> Rehash {
        Rehash {
            password_hash: sealed("dearer"),
            replaced: registration().password_hash,
        }
    }

    fn rehashed() -> UserEvent {
        UserEvent::PasswordRehashed(PasswordRehashed {
            password_hash: sealed("dearer"),
        })
    }

    #[test]
    fn a_new_hash_takes_the_place_of_the_former_and_ends_no_session() {
        let signed_in = || given([registered(), logged_in(session(1))]);
        signed_in().when(rehash()).then([rehashed()]);
        let after = signed_in().and(rehash());
        let user = after.state();
        let account = user.account.as_ref().unwrap();
        assert_eq!(account.password_hash, sealed("dearer"));
        assert_eq!(
            account.remembered_hashes(5).collect::<Vec<_>>(),
            [&sealed("dearer")]
        );
        assert_eq!(
            (user.sessions.len(), user.devices.len(), user.credentials),
            (1, 1, 1)
        );
    }

    #[test]
    fn of_two_sign_ins_that_made_it_anew_the_first_counts() {
        given([registered()]).and(rehash()).when(rehash()).then_nothing();
    }

    #[test]
    fn a_password_that_was_changed_in_between_stays_changed() {
        let change = ChangePassword {
            password_hash: sealed("second"),
            credentials: 1,
            keep: None,
        };
        given([registered()]).and(change).when(rehash()).then_nothing();
    }

    #[test]
    fn whoever_checked_the_password_before_signs_in_after() {
        let log_in = LogIn {
            login: login(session(7), minutes(60)),
            credentials: 1,
            max_sessions: MAX_SESSIONS,
            signature_counter: None,
        };
        let events = given([registered()]).and(rehash()).decided(log_in);
        assert!(
            matches!(events.as_slice(), [UserEvent::LoggedIn(_)]),
            "{events:?}"
        );
    }

    #[test]
    fn only_active_users_have_a_hash_to_make_anew() {
        given([]).when(rehash()).then_error(Error::NotFound);
        let deactivated = [registered(), user_deactivated()];
        given(deactivated).when(rehash()).then_error(Error::Deactivated);
    }
}
