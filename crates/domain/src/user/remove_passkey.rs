//! Remove a passkey.

use schemas::CredentialId;
use schemas::user::{PasskeyRemoved, UserEvent};
use serde::{Deserialize, Serialize};

use super::disable_totp::FactorRemover;
use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovePasskey {
    pub credential_id: CredentialId,
    pub by: FactorRemover,
}

impl Decide<User> for RemovePasskey {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        if !user.factors.passkeys.contains_key(&self.credential_id) {
            return Err(Error::NoSuchFactor);
        }
        self.by.admit(user, ctx)?;
        Ok(vec![UserEvent::PasskeyRemoved(PasskeyRemoved {
            credential_id: self.credential_id,
            by_administrator: self.by.is_administrator(),
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credential, given, logged_in, passkey_added, registered, session};

    const fn remove(number: u128, password_stands_alone: bool) -> RemovePasskey {
        RemovePasskey {
            credential_id: credential(number),
            by: FactorRemover::Owner {
                session_id: session(1),
                credentials: 2,
                password_stands_alone,
            },
        }
    }

    #[test]
    fn a_passkey_is_removed_and_the_last_one_only_with_a_long_password() {
        let user = || given([registered(), logged_in(session(1)), passkey_added(1)]);
        user()
            .when(remove(1, true))
            .then([UserEvent::PasskeyRemoved(PasskeyRemoved {
                credential_id: credential(1),
                by_administrator: false,
            })]);
        assert!(!user().and(remove(1, true)).state().factors.are_active());
        user().when(remove(1, false)).then_error(Error::PasswordTooShort);
        user().when(remove(2, true)).then_error(Error::NoSuchFactor);
    }
}
