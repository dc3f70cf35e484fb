//! Show a second factor in a session that is signed in, so that it may do what needs a recent one.

use schemas::SessionId;
use schemas::user::{SessionSteppedUp, UserEvent};
use serde::{Deserialize, Serialize};

use super::factors::{Shown, Verdict};
use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    pub session_id: SessionId,
    pub shown: Shown,
    /// Method references of RFC 8176.
    pub methods: Vec<String>,
    /// [`User::credentials`] that the factor was checked against.
    pub credentials: i64,
}

impl Decide<User> for StepUp {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        let session = user.session(self.session_id, ctx.now);
        let device = session.ok_or(Error::SessionEnded)?.device_id;
        user.admits_attempt(self.credentials, Some(device), ctx)?;
        let counted = match user.judge(&self.shown, ctx.now)? {
            Verdict::Refused(event) => return Ok(vec![event]),
            Verdict::Counts(event) => event,
        };
        let stepped_up = UserEvent::SessionSteppedUp(SessionSteppedUp {
            session_id: self.session_id,
            methods: self.methods,
            factor: self.shown.factor,
            verified_at: ctx.now,
        });
        Ok(counted.into_iter().chain([stepped_up]).collect())
    }
}

#[cfg(test)]
mod tests {
    use schemas::CeremonyId;
    use schemas::user::{Factor, FactorKind, PasskeyCloneSuspected, PasskeyCounted};

    use super::*;
    use crate::testing::{
        ceremony, credential, digest, minutes, passkey_added, session, shown_code, shown_step, with_totp,
    };

    fn step_up(shown: Shown, credentials: i64) -> StepUp {
        StepUp {
            session_id: session(1),
            shown,
            methods: vec!["mfa".to_owned()],
            credentials,
        }
    }

    fn shown_passkey(ceremony_id: CeremonyId, counter: i64) -> Shown {
        Shown {
            factor: Factor {
                kind: FactorKind::Passkey,
                credential_id: Some(credential(1)),
                totp_step: None,
                recovery_code_hash: None,
                ceremony_id: Some(ceremony_id),
            },
            signature_counter: Some(counter),
        }
    }

    #[test]
    fn a_code_makes_the_session_assured_again() {
        let later = with_totp().at(minutes(30)).and(step_up(shown_step(60), 2));
        assert_eq!(later.state().assured(session(1), minutes(39)), Ok(()));
        assert_eq!(
            later.state().assured(session(1), minutes(40)),
            Err(Error::StepUpRequired)
        );
    }

    #[test]
    fn a_time_step_counts_once_and_none_before_it_does() {
        // The enrolment was confirmed by step 1.
        for step in [0, 1] {
            with_totp()
                .when(step_up(shown_step(step), 2))
                .then_error(Error::FactorUsedUp);
        }
        let after = with_totp().and(step_up(shown_step(5), 2));
        for step in [4, 5] {
            let again = with_totp().and(step_up(shown_step(5), 2));
            again
                .when(step_up(shown_step(step), 2))
                .then_error(Error::FactorUsedUp);
        }
        assert_eq!(after.state().factors.totp.as_ref().unwrap().last_step, 5);
    }

    #[test]
    fn a_recovery_code_counts_once() {
        let after = with_totp().and(step_up(shown_code("first code"), 2));
        let left: Vec<_> = after.state().factors.recovery_codes.iter().collect();
        assert_eq!(left, [&digest("second code")]);
        after
            .when(step_up(shown_code("first code"), 2))
            .then_error(Error::FactorUsedUp);
        with_totp()
            .when(step_up(shown_code("no code"), 2))
            .then_error(Error::FactorUsedUp);
    }

    #[test]
    fn a_passkeys_counter_goes_on_and_one_that_does_not_is_refused() {
        let user = || with_totp().after([passkey_added(1)]);
        let first = || shown_passkey(ceremony(2, minutes(0)), 8);
        let counted = user().and(step_up(first(), 3));
        let signature_counter = counted.state().factors.passkeys[&credential(1)].signature_counter;
        assert_eq!(signature_counter, 8);
        for presented in [0, 7, 8] {
            let again = user().and(step_up(first(), 3));
            let challenge = ceremony(3, minutes(0));
            again.when(step_up(shown_passkey(challenge, presented), 3)).then([
                UserEvent::PasskeyCloneSuspected(PasskeyCloneSuspected {
                    credential_id: credential(1),
                    ceremony_id: challenge,
                    known_counter: 8,
                    presented_counter: presented,
                }),
            ]);
        }
    }

    #[test]
    fn a_passkey_that_does_not_count_records_no_counter() {
        let UserEvent::PasskeyAdded(mut added) = passkey_added(1) else {
            unreachable!()
        };
        added.signature_counter = 0;
        let user = || with_totp().after([UserEvent::PasskeyAdded(added.clone())]);
        let after = user().and(step_up(shown_passkey(ceremony(2, minutes(0)), 0), 3));
        assert_eq!(after.state().assured(session(1), minutes(1)), Ok(()));
        let Ok(events) = step_up(shown_passkey(ceremony(3, minutes(0)), 0), 3)
            .decide(user().state(), &Context { now: minutes(0) })
        else {
            panic!()
        };
        let counts = |event: &UserEvent| matches!(event, UserEvent::PasskeyCounted(PasskeyCounted { .. }));
        assert!(!events.iter().any(counts));
    }

    #[test]
    fn an_answered_challenge_is_over_even_if_it_was_refused() {
        let user = with_totp().after([passkey_added(1)]);
        let challenge = ceremony(2, minutes(0));
        let refused = user.and(step_up(shown_passkey(challenge, 1), 3));
        refused
            .when(step_up(shown_passkey(challenge, 9), 3))
            .then_error(Error::CeremonyOver);
    }

    #[test]
    fn what_was_checked_against_other_factors_is_checked_again() {
        with_totp()
            .when(step_up(shown_step(5), 1))
            .then_error(Error::CredentialsChanged);
    }
}
