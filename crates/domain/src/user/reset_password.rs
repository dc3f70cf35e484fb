//! Reset a forgotten password: a token goes out to the e-mail address and comes back with a new one.

use schemas::user::{PasswordChangeCause, PasswordChanged, PasswordResetRequested, UserEvent, UserUnlocked};
use schemas::{BlindIndex, DeviceId, Sealed, Sha256Digest};
use serde::{Deserialize, Serialize};

use super::one_time::require;
use super::{Error, User};
use crate::decider::{Context, Decide};

/// Send a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestPasswordReset {
    pub request: PasswordResetRequested,
    /// The address by which the user was found.
    pub email_index: BlindIndex,
}

impl Decide<User> for RequestPasswordReset {
    fn decide(self, user: &User, _: &Context) -> Result<Vec<UserEvent>, Error> {
        user.at_address(self.email_index)?;
        Ok(vec![UserEvent::PasswordResetRequested(self.request)])
    }
}

/// The token came back. Every session ends, and so does a lock: guessing the former password leads
/// nowhere any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetPassword {
    pub token_hash: Sha256Digest,
    pub password_hash: Sealed,
    /// New: who goes on guessing must not keep out whoever reads the owner's mail.
    pub device_id: DeviceId,
}

impl Decide<User> for ResetPassword {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        require(user.sent.password_reset.as_ref(), self.token_hash, ctx.now)?;
        let changed = UserEvent::PasswordChanged(PasswordChanged {
            password_hash: self.password_hash,
            revoked_sessions: user.live_session_ids(ctx.now, None),
            cause: PasswordChangeCause::Reset,
            known_device: Some(self.device_id),
        });
        let locked = user.locked_at(ctx.now);
        let unlocked = locked.map(|_| UserEvent::Unlocked(UserUnlocked {}));
        Ok([changed].into_iter().chain(unlocked).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Given, NOW, claim, device, digest, given, logged_in, login_failure, minutes, one_time, registered,
        registration, sealed, session, user_deactivated,
    };
    use crate::user::{ChangePassword, ChangeProfile, NewName, RecordLoginFailure};

    fn request(number: u128) -> RequestPasswordReset {
        RequestPasswordReset {
            request: PasswordResetRequested {
                token_id: one_time(number),
                nonce: sealed("nonce"),
                token_hash: digest(&format!("token {number}")),
                expires_at: minutes(30),
                ip_network: None,
                ip_address: None,
                user_agent: None,
            },
            email_index: registration().email_index,
        }
    }

    fn reset(number: u128) -> ResetPassword {
        ResetPassword {
            token_hash: digest(&format!("token {number}")),
            password_hash: sealed("new"),
            device_id: device(9),
        }
    }

    fn changed(revoked: &[u128]) -> UserEvent {
        UserEvent::PasswordChanged(PasswordChanged {
            password_hash: sealed("new"),
            revoked_sessions: revoked.iter().copied().map(session).collect(),
            cause: PasswordChangeCause::Reset,
            known_device: Some(device(9)),
        })
    }

    fn asked() -> Given<User> {
        given([registered(), logged_in(session(1)), logged_in(session(2))]).and(request(1))
    }

    #[test]
    fn a_token_that_came_back_sets_a_password_once_and_ends_every_session() {
        asked().when(reset(1)).then([changed(&[1, 2])]);
        let done = asked().and(reset(1));
        assert!(done.state().sessions.is_empty() && done.state().credentials == 2);
        done.when(reset(1)).then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn whoever_resets_it_signs_in_though_others_go_on_guessing() {
        let guessed = RecordLoginFailure {
            failure: login_failure(5),
            credentials: 2,
            device: None,
        };
        let locked = asked().and(reset(1)).and(guessed);
        let user = locked.state();
        assert!(user.locked_for(Some(device(1)), NOW).is_some());
        assert!(user.locked_for(Some(device(9)), NOW).is_none());
        // It never signed in, and so its first sign-in is one from a new device.
        assert!(!user.device(device(9)).unwrap().has_signed_in);
    }

    #[test]
    fn an_older_token_dies_with_a_newer_one_and_any_in_time() {
        let twice = || asked().and(request(2));
        twice().when(reset(1)).then_error(Error::InvalidOneTimeToken);
        twice().when(reset(2)).then([changed(&[1, 2])]);
        asked()
            .at(minutes(30))
            .when(reset(1))
            .then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn it_dies_with_a_changed_password_and_with_a_changed_address() {
        let change = ChangePassword {
            password_hash: sealed("other"),
            credentials: 1,
            keep: None,
        };
        asked()
            .and(change)
            .when(reset(1))
            .then_error(Error::InvalidOneTimeToken);
        let moved = ChangeProfile {
            email: Some(NewName {
                name: sealed("new"),
                index: BlindIndex(digest("new")),
                claim_id: Some(claim(2)),
            }),
            ..ChangeProfile::default()
        };
        asked()
            .and(moved)
            .when(reset(1))
            .then_error(Error::InvalidOneTimeToken);
    }

    #[test]
    fn a_lock_ends_with_it() {
        let fail = RecordLoginFailure {
            failure: login_failure(5),
            credentials: 1,
            device: None,
        };
        let locked = asked().and(fail);
        assert!(locked.state().locked_until.is_some());
        let unlocked = UserEvent::Unlocked(UserUnlocked {});
        locked.when(reset(1)).then([changed(&[1, 2]), unlocked]);
    }

    #[test]
    fn only_active_users_reset_their_password() {
        given([]).when(request(1)).then_error(Error::NotFound);
        let deactivated = || asked().after([user_deactivated()]);
        deactivated().when(request(2)).then_error(Error::Deactivated);
        deactivated().when(reset(1)).then_error(Error::Deactivated);
    }
}
