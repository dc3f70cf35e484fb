//! Disable one-time passwords.

use schemas::SessionId;
use schemas::user::{TotpDisabled, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisableTotp {
    pub by: FactorRemover,
}

/// Who takes a factor away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactorRemover {
    Owner {
        session_id: SessionId,
        /// [`User::credentials`] that the password was checked against.
        credentials: i64,
        /// It is long enough to be the only one.
        password_stands_alone: bool,
    },
    /// For whoever lost them all. The password goes on protecting the account.
    Administrator,
}

impl FactorRemover {
    pub(super) fn admit(self, user: &User, ctx: &Context) -> Result<(), Error> {
        match self {
            Self::Administrator => Ok(()),
            Self::Owner {
                session_id,
                credentials,
                password_stands_alone,
            } => {
                user.assured(session_id, ctx.now)?;
                if credentials != user.credentials {
                    return Err(Error::CredentialsChanged);
                }
                user.keeps_enough(password_stands_alone)
            }
        }
    }

    pub(super) fn is_administrator(self) -> bool {
        matches!(self, Self::Administrator)
    }
}

impl Decide<User> for DisableTotp {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.registered()?;
        if user.factors.totp.is_none() {
            return Ok(vec![]);
        }
        self.by.admit(user, ctx)?;
        let by_administrator = self.by.is_administrator();
        Ok(vec![UserEvent::TotpDisabled(TotpDisabled { by_administrator })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, minutes, passkey_added, registered, session, with_totp};

    const fn disable(credentials: i64, password_stands_alone: bool) -> DisableTotp {
        let session_id = session(1);
        DisableTotp {
            by: FactorRemover::Owner {
                session_id,
                credentials,
                password_stands_alone,
            },
        }
    }

    fn disabled(by_administrator: bool) -> UserEvent {
        UserEvent::TotpDisabled(TotpDisabled { by_administrator })
    }

    #[test]
    fn the_owner_disables_it_soon_after_showing_a_factor() {
        with_totp().when(disable(2, true)).then([disabled(false)]);
        let after = with_totp().and(disable(2, true));
        let factors = &after.state().factors;
        assert!(!factors.are_active() && factors.recovery_codes.is_empty());
        after.when(disable(3, true)).then_nothing();
        with_totp()
            .at(minutes(10))
            .when(disable(2, true))
            .then_error(Error::StepUpRequired);
        with_totp()
            .when(disable(1, true))
            .then_error(Error::CredentialsChanged);
    }

    #[test]
    fn a_short_password_keeps_its_last_factor() {
        with_totp()
            .when(disable(2, false))
            .then_error(Error::PasswordTooShort);
        let with_passkey = with_totp().after([passkey_added(1)]);
        let after = with_passkey.and(disable(3, false));
        assert_eq!(after.state().factors.recovery_codes.len(), 2);
    }

    #[test]
    fn an_administrator_needs_neither_factor_nor_password() {
        let by = FactorRemover::Administrator;
        with_totp()
            .at(minutes(30))
            .when(DisableTotp { by })
            .then([disabled(true)]);
        given([registered()]).when(DisableTotp { by }).then_nothing();
        given([]).when(DisableTotp { by }).then_error(Error::NotFound);
    }
}
