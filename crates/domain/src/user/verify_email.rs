//! Verify an e-mail address: a token goes out to it and comes back.

use schemas::Sha256Digest;
use schemas::user::{EmailVerificationRequested, EmailVerified, UserEvent};
use serde::{Deserialize, Serialize};

use super::one_time::require;
use super::{Error, User};
use crate::decider::{Context, Decide};

/// Send a token. To an address that is verified already nothing goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEmailVerification {
    pub request: EmailVerificationRequested,
}

impl Decide<User> for RequestEmailVerification {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        if user.at_address(self.request.email_index)?.email_verified {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::EmailVerificationRequested(self.request)])
    }
}

/// The token came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyEmail {
    pub token_hash: Sha256Digest,
}

impl Decide<User> for VerifyEmail {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        let account = user.active()?;
        require(user.sent.email_verification.as_ref(), self.token_hash, ctx.now)?;
        Ok(vec![UserEvent::EmailVerified(EmailVerified {
            email_index: account.email_index,
        })])
    }
}

#[cfg(test)]
mod tests {
    use schemas::BlindIndex;

    use super::*;
    use crate::testing::{
        Given, claim, digest, given, minutes, one_time, registered, registration, sealed, user_deactivated,
    };
    use crate::user::{ChangeProfile, NewName};

    fn request(number: u128) -> RequestEmailVerification {
        RequestEmailVerification {
            request: EmailVerificationRequested {
                token_id: one_time(number),
                email_index: registration().email_index,
                nonce: sealed("nonce"),
                token_hash: digest(&format!("token {number}")),
                expires_at: minutes(60),
            },
        }
    }

    fn verify(number: u128) -> VerifyEmail {
        VerifyEmail {
            token_hash: digest(&format!("token {number}")),
        }
    }

    fn verified() -> UserEvent {
        UserEvent::EmailVerified(EmailVerified {
            email_index: registration().email_index,
        })
    }

    fn asked() -> Given<User> {
        given([registered()]).and(request(1))
    }

    #[test]
    fn a_token_that_came_back_verifies_once() {
        asked().when(verify(1)).then([verified()]);
        let done = asked().and(verify(1));
        assert!(done.state().account.as_ref().unwrap().email_verified);
        done.when(verify(1)).then_error(Error::InvalidOneTimeToken);
        asked().and(verify(1)).when(request(2)).then_nothing();
    }

    #[test]
    fn only_the_newest_token_verifies_and_only_in_time() {
        let twice = || asked().and(request(2));
        twice().when(verify(1)).then_error(Error::InvalidOneTimeToken);
        twice().when(verify(2)).then([verified()]);
        asked()
            .at(minutes(60))
            .when(verify(1))
            .then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn a_new_address_is_not_verified_and_what_went_to_the_old_one_is_worth_nothing() {
        let move_on = || ChangeProfile {
            email: Some(NewName {
                name: sealed("new"),
                index: BlindIndex(digest("new")),
                claim_id: Some(claim(2)),
            }),
            ..ChangeProfile::default()
        };
        let moved = asked().and(verify(1)).and(move_on());
        assert!(!moved.state().account.as_ref().unwrap().email_verified);
        asked()
            .and(move_on())
            .when(verify(1))
            .then_error(Error::InvalidOneTimeToken);
        asked()
            .and(move_on())
            .when(request(2))
            .then_error(Error::ProfileChanged);
    }

    #[test]
    fn only_active_users_verify_their_address() {
        given([]).when(request(1)).then_error(Error::NotFound);
        let deactivated = || asked().after([user_deactivated()]);
        deactivated().when(request(2)).then_error(Error::Deactivated);
        deactivated().when(verify(1)).then_error(Error::Deactivated);
    }
}
