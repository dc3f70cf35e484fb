//! Log in: a session begins, after the password was found right, or a passkey without one.

use schemas::user::{PASSWORD, RevokeReason, SessionRevoked, UserEvent, UserLoggedIn};
use schemas::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::factors::{Shown, Verdict};
use super::risk::Risk;
use super::{Error, MAX_SESSIONS, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIn {
    pub login: UserLoggedIn,
    /// [`User::credentials`] that password and factor were checked against.
    pub credentials: i64,
    /// Of the passkey that was shown, as its authenticator has it now.
    pub signature_counter: Option<i64>,
    /// Live sessions that the user may have with this one, up to [`MAX_SESSIONS`].
    pub max_sessions: usize,
}

impl Decide<User> for LogIn {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        if self.has_password() {
            user.admits_attempt(self.credentials, Some(self.login.device_id), ctx)?;
        } else {
            // A lock is there against guessing, and a passkey alone leaves nothing to guess.
            user.checked_against(self.credentials)?;
        }
        let counted = match self.shown() {
            None if user.factors.are_active() => return Err(Error::SecondFactorRequired),
            None => None,
            Some(shown) => match user.judge(&shown, ctx.now)? {
                Verdict::Refused(event) => return Ok(vec![event]),
                Verdict::Counts(event) => event,
            },
        };
        let login = UserLoggedIn {
            despite_lock: user.locked_at(ctx.now).is_some(),
            is_new_device: user
                .device(self.login.device_id)
                .is_none_or(|device| !device.has_signed_in),
            authenticated_at: Some(ctx.now),
            ..self.login
        };
        let risk = Risk::of_sign_in(user, &login, ctx.now);
        let login = UserLoggedIn {
            risk_score: risk.score,
            risk_reasons: risk.reasons,
            ..login
        };
        let failures = user.unwritten_failures();
        let room = make_room(user, self.max_sessions, ctx.now);
        let events = failures.into_iter().chain(counted).chain(room);
        Ok(events.chain([UserEvent::LoggedIn(login)]).collect())
    }
}

impl LogIn {
    fn has_password(&self) -> bool {
        self.login.methods.iter().any(|method| method == PASSWORD)
    }

    fn shown(&self) -> Option<Shown> {
        self.login.factor.clone().map(|factor| Shown {
            factor,
            signature_counter: self.signature_counter,
        })
    }
}

/// Ends as many live sessions as the new one needs room, those first that would end first. Where sessions
/// end for want of use, that is the one not used longest.
fn make_room(user: &User, max_sessions: usize, now: Timestamp) -> Vec<UserEvent> {
    let mut live: Vec<(Timestamp, SessionId)> = user
        .live_sessions(now)
        .map(|(id, session)| (session.ends_at(), id))
        .collect();
    live.sort_unstable();
    let surplus = (live.len() + 1).saturating_sub(max_sessions.clamp(1, MAX_SESSIONS));
    let revoke = |(_, session_id)| {
        UserEvent::SessionRevoked(SessionRevoked {
            session_id,
            reason: RevokeReason::Other,
        })
    };
    live.into_iter().take(surplus).map(revoke).collect()
}

#[cfg(test)]
mod tests {
    use schemas::user::HARDWARE_KEY;

    use super::*;
    use crate::testing::{
        NOW, ceremony, device, given, logged_in, login, login_failure, minutes, passkey_added, refreshed,
        registered, session, shown_code, shown_passkey, shown_step, user_deactivated, with_totp,
    };
    use crate::user::{ChangePassword, RecordLoginFailure};

    fn log_in(number: u128) -> LogIn {
        LogIn {
            login: login(session(number), minutes(60)),
            credentials: 1,
            signature_counter: None,
            max_sessions: MAX_SESSIONS,
        }
    }

    /// From [`device`] 1, so many minutes from now.
    fn began(number: u128, minute: i64, is_new_device: bool) -> UserEvent {
        UserEvent::LoggedIn(UserLoggedIn {
            authenticated_at: Some(minutes(minute)),
            is_new_device,
            ..login(session(number), minutes(60))
        })
    }

    fn after_failures(event: UserEvent) -> UserEvent {
        match event {
            UserEvent::LoggedIn(login) => UserEvent::LoggedIn(UserLoggedIn {
                risk_score: 30,
                risk_reasons: vec!["failures_before".to_owned()],
                ..login
            }),
            other => panic!("{other:?}"),
        }
    }

    fn revoked(number: u128) -> UserEvent {
        let (session_id, reason) = (session(number), RevokeReason::Other);
        UserEvent::SessionRevoked(SessionRevoked { session_id, reason })
    }

    #[test]
    fn a_login_begins_a_session() {
        given([registered()]).when(log_in(7)).then([began(7, 0, true)]);
    }

    #[test]
    fn a_device_is_new_once() {
        let signed_in = given([registered()]).and(log_in(7));
        signed_in.when(log_in(8)).then([began(8, 0, false)]);
    }

    #[test]
    fn an_unknown_user_cannot_log_in() {
        given([]).when(log_in(7)).then_error(Error::NotFound);
    }

    #[test]
    fn a_deactivated_user_cannot_log_in() {
        let deactivated = [registered(), user_deactivated()];
        given(deactivated).when(log_in(7)).then_error(Error::Deactivated);
    }

    #[test]
    fn a_locked_user_cannot_log_in_until_the_lock_ends() {
        let failure = RecordLoginFailure {
            failure: login_failure(5),
            credentials: 1,
            device: None,
        };
        let locked = || given([registered()]).and(failure.clone());
        locked()
            .when(log_in(7))
            .then_error(Error::Locked { until: minutes(1) });
        locked()
            .at(minutes(1))
            .when(log_in(7))
            .then([after_failures(began(7, 1, true))]);
    }

    #[test]
    fn a_lock_binds_nobody_who_shows_a_passkey_alone() {
        let failure = RecordLoginFailure {
            failure: login_failure(5),
            credentials: 2,
            device: None,
        };
        let locked = given([registered(), logged_in(session(1)), passkey_added(1)]).and(failure);
        let mut alone = LogIn {
            credentials: 2,
            signature_counter: Some(8),
            ..log_in(7)
        };
        alone.login.device_id = device(2);
        alone.login.methods = vec![HARDWARE_KEY.to_owned()];
        alone.login.factor = Some(shown_passkey(1, ceremony(2, NOW), 8).factor);
        let events = locked.decided(alone.clone());
        assert!(
            matches!(events.last(), Some(UserEvent::LoggedIn(login)) if login.despite_lock),
            "{events:?}"
        );
        alone.login.methods.push(PASSWORD.to_owned());
        locked.when(alone).then_error(Error::Locked { until: minutes(1) });
    }

    #[test]
    fn a_password_checked_before_it_changed_is_checked_again() {
        let password_hash = crate::testing::sealed("second hash");
        let change = ChangePassword {
            password_hash,
            credentials: 1,
            keep: None,
        };
        let changed = || given([registered()]).and(change.clone());
        changed().when(log_in(7)).then_error(Error::CredentialsChanged);
        let checked_again = LogIn {
            credentials: 2,
            ..log_in(7)
        };
        changed().when(checked_again).then([began(7, 0, true)]);
    }

    #[test]
    fn a_login_beyond_the_bound_ends_the_session_that_would_expire_first() {
        let first_to_expire = UserEvent::LoggedIn(login(session(50), minutes(30)));
        let others = (1..100)
            .filter(|n| *n != 50)
            .chain([500])
            .map(|n| logged_in(session(n)));
        let full = given::<User>([registered(), first_to_expire]).after(others);
        assert_eq!(full.state().sessions.len(), MAX_SESSIONS);
        full.when(log_in(7_000))
            .then([revoked(50), began(7_000, 0, false)]);
    }

    #[test]
    fn fewer_sessions_may_be_configured_and_the_last_one_stays_possible() {
        let two = given::<User>([registered()]).after([logged_in(session(1)), logged_in(session(2))]);
        let limited = |max_sessions| LogIn {
            max_sessions,
            ..log_in(7)
        };
        let began = || began(7, 0, false);
        let ends = |max_sessions| two.decided(limited(max_sessions));
        assert_eq!(ends(3), [began()]);
        assert_eq!(ends(2), [revoked(1), began()]);
        assert_eq!(ends(1), [revoked(1), revoked(2), began()]);
        assert_eq!(ends(0), [revoked(1), revoked(2), began()]);
    }

    #[test]
    fn the_session_not_used_longest_makes_room_where_sessions_end_for_want_of_use() {
        let idling = |number| LogIn {
            login: UserLoggedIn {
                idle_timeout: Some(20 * 60_000_000),
                ..login(session(number), minutes(60))
            },
            max_sessions: 2,
            ..log_in(number)
        };
        let refreshed = UserEvent::SessionRefreshed(refreshed(session(1), 2, minutes(2)));
        given([registered()])
            .and(idling(1))
            .at(minutes(1))
            .and(idling(2))
            .after([refreshed])
            .at(minutes(3))
            .when(idling(3))
            .then([
                revoked(2),
                UserEvent::LoggedIn(UserLoggedIn {
                    authenticated_at: Some(minutes(3)),
                    ..idling(3).login
                }),
            ]);
    }

    fn with_factor(shown: Shown) -> LogIn {
        let mut with = LogIn {
            credentials: 2,
            signature_counter: shown.signature_counter,
            ..log_in(7)
        };
        with.login.factor = Some(shown.factor);
        with
    }

    #[test]
    fn whoever_has_a_second_factor_signs_in_with_it_and_is_assured() {
        let without = LogIn {
            credentials: 2,
            ..log_in(7)
        };
        with_totp().when(without).then_error(Error::SecondFactorRequired);
        let signed_in = with_totp().and(with_factor(shown_step(5)));
        assert_eq!(signed_in.state().assured(session(7), minutes(9)), Ok(()));
        signed_in
            .when(with_factor(shown_step(5)))
            .then_error(Error::FactorUsedUp);
        with_totp()
            .and(with_factor(shown_code("first code")))
            .when(with_factor(shown_code("first code")))
            .then_error(Error::FactorUsedUp);
    }

    #[test]
    fn what_was_never_enrolled_is_no_factor() {
        let shown = LogIn {
            credentials: 1,
            ..with_factor(shown_step(5))
        };
        given([registered()]).when(shown).then_error(Error::NoSuchFactor);
    }

    #[test]
    fn expired_sessions_make_room_without_an_event() {
        let expired = (1..=100).map(|n| UserEvent::LoggedIn(login(session(n), NOW)));
        let full = || given([registered()]).after(expired.clone());
        full().when(log_in(7_000)).then([began(7_000, 0, false)]);
        let after = full().and(log_in(7_000));
        assert_eq!(after.state().sessions.len(), MAX_SESSIONS);
        assert!(after.state().session(session(7_000), NOW).is_some());
    }
}
