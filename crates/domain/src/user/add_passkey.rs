//! Add a passkey: from then on signing in takes a second factor.

use schemas::user::{PasskeyAdded, UserEvent};
use serde::{Deserialize, Serialize};

use super::factors::MAX_PASSKEYS;
use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPasskey {
    pub added: PasskeyAdded,
}

impl Decide<User> for AddPasskey {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let session_id = self.added.session_id;
        user.session(session_id, ctx.now).ok_or(Error::SessionEnded)?;
        user.assured(session_id, ctx.now)?;
        user.factors.admit(self.added.ceremony_id, ctx.now)?;
        if user
            .factors
            .passkey_by_index(self.added.credential_index)
            .is_some()
        {
            return Err(Error::PasskeyKnown);
        }
        if user.factors.passkeys.len() >= MAX_PASSKEYS {
            return Err(Error::TooManyPasskeys);
        }
        Ok(vec![UserEvent::PasskeyAdded(PasskeyAdded {
            added_at: ctx.now,
            ..self.added
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, given, logged_in, minutes, passkey_added, registered, session, with_totp};

    fn add(number: u128) -> AddPasskey {
        let UserEvent::PasskeyAdded(added) = passkey_added(number) else {
            unreachable!()
        };
        AddPasskey { added }
    }

    fn signed_in() -> Given<User> {
        given([registered(), logged_in(session(1))])
    }

    #[test]
    fn a_passkey_is_a_factor_and_counts_as_shown() {
        signed_in().when(add(1)).then([passkey_added(1)]);
        let after = signed_in().and(add(1));
        assert!(after.state().factors.are_active());
        assert_eq!(after.state().credentials, 2);
        assert_eq!(after.state().assured(session(1), minutes(9)), Ok(()));
    }

    #[test]
    fn a_passkey_is_added_once_and_its_challenge_answered_once() {
        let after = || signed_in().and(add(1));
        after().when(add(1)).then_error(Error::CeremonyOver);
        let mut again = add(2);
        again.added.credential_index = add(1).added.credential_index;
        after().when(again).then_error(Error::PasskeyKnown);
        signed_in()
            .at(minutes(5))
            .when(add(1))
            .then_error(Error::CeremonyOver);
    }

    #[test]
    fn whoever_has_a_factor_shows_it_first() {
        with_totp()
            .at(minutes(11))
            .when(add(1))
            .then_error(Error::StepUpRequired);
    }

    #[test]
    fn passkeys_are_bounded() {
        let full = (1..).take(MAX_PASSKEYS).map(passkey_added);
        let full = signed_in().after(full);
        full.when(add(100)).then_error(Error::TooManyPasskeys);
    }
}
