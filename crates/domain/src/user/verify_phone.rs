//! Verify a phone number: a short code goes out to it and comes back, in a few tries at most.

use schemas::OneTimeId;
use schemas::user::{PhoneVerificationFailed, PhoneVerificationRequested, PhoneVerified, UserEvent};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

/// Send a code. To a number that is verified already nothing goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestPhoneVerification {
    pub request: PhoneVerificationRequested,
}

impl Decide<User> for RequestPhoneVerification {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        let account = user.active()?;
        if account.phone_number.is_none() {
            return Err(Error::NoPhoneNumber);
        }
        if account.phone_verified {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::PhoneVerificationRequested(self.request)])
    }
}

/// A code came back, right or wrong. Here it is counted, one after the other, so that tries at the same
/// time are no more than tries in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPhone {
    /// The code it was compared with.
    pub code_id: OneTimeId,
    pub is_right: bool,
}

impl Decide<User> for VerifyPhone {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let sent = user.sent.phone_verification.as_ref();
        let code_id = self.code_id;
        if !sent.is_some_and(|sent| sent.id == code_id && sent.is_live(ctx.now)) {
            return Err(Error::InvalidOneTimeToken);
        }
        Ok(vec![if self.is_right {
            UserEvent::PhoneVerified(PhoneVerified { code_id })
        } else {
            UserEvent::PhoneVerificationFailed(PhoneVerificationFailed { code_id })
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, given, minutes, one_time, registered, registration, sealed};
    use crate::user::{CODE_TRIES, ChangeProfile, NewPhoneNumber};
    use schemas::user::UserRegistered;

    fn request(number: u128) -> RequestPhoneVerification {
        RequestPhoneVerification {
            request: PhoneVerificationRequested {
                code_id: one_time(number),
                nonce: sealed("nonce"),
                expires_at: minutes(10),
            },
        }
    }

    fn verify(number: u128, is_right: bool) -> VerifyPhone {
        VerifyPhone {
            code_id: one_time(number),
            is_right,
        }
    }

    fn verified(number: u128) -> UserEvent {
        UserEvent::PhoneVerified(PhoneVerified {
            code_id: one_time(number),
        })
    }

    fn asked() -> Given<User> {
        let with_phone = UserEvent::Registered(UserRegistered {
            phone_number: Some(sealed("+49 30 1")),
            ..registration()
        });
        given([with_phone]).and(request(1))
    }

    #[test]
    fn the_right_code_verifies_once() {
        asked().when(verify(1, true)).then([verified(1)]);
        let done = || asked().and(verify(1, true));
        assert!(done().state().account.as_ref().unwrap().phone_verified);
        done()
            .when(verify(1, true))
            .then_error(Error::InvalidOneTimeToken);
        done().when(request(2)).then_nothing();
    }

    #[test]
    fn after_a_few_wrong_tries_the_right_code_is_worth_nothing() {
        let failed = (1..CODE_TRIES).fold(asked(), |user, _| user.and(verify(1, false)));
        let last = failed.and(verify(1, false));
        let state = last.state().clone();
        assert!(!state.account.unwrap().phone_verified);
        let again = last.and(request(2));
        again.when(verify(2, true)).then([verified(2)]);
        let failed = (0..CODE_TRIES).fold(asked(), |user, _| user.and(verify(1, false)));
        failed
            .when(verify(1, true))
            .then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn an_old_or_replaced_code_is_worth_nothing() {
        asked()
            .at(minutes(10))
            .when(verify(1, true))
            .then_error(Error::InvalidOneTimeToken);
        asked()
            .and(request(2))
            .when(verify(1, true))
            .then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn another_number_is_not_verified() {
        let change = |number| ChangeProfile {
            phone_number: Some(number),
            ..ChangeProfile::default()
        };
        let other = || change(NewPhoneNumber::Is(sealed("+49 30 2")));
        let moved = asked().and(verify(1, true)).and(other());
        assert!(!moved.state().account.as_ref().unwrap().phone_verified);
        asked()
            .and(other())
            .when(verify(1, true))
            .then_error(Error::InvalidOneTimeToken);
        asked()
            .and(change(NewPhoneNumber::Removed))
            .when(request(2))
            .then_error(Error::NoPhoneNumber);
    }

    #[test]
    fn without_a_number_nothing_goes_out() {
        given([registered()])
            .when(request(1))
            .then_error(Error::NoPhoneNumber);
        given([]).when(request(1)).then_error(Error::NotFound);
    }
}
