//! What holds for every history of second factors.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schemas::user::Factor;
use schemas::{CeremonyId, Sha256Digest};

use super::*;
use crate::testing::{
    ceremony, credential, digest, login, minutes, passkey_added, registered, sealed, session, shown_code,
    shown_passkey, shown_step,
};

/// Somebody does something, checked against the credentials of that moment.
#[derive(Clone, Debug)]
enum Deed {
    Start,
    /// With codes of this number.
    Confirm(i64, u128),
    Disable(bool),
    Replace(u128),
    StepUp(Shown),
    LogIn(Option<Shown>),
    Add(u128, u128),
    Remove(u128),
}

fn codes(number: u128) -> Vec<Sha256Digest> {
    (0..3).map(|n| digest(&format!("code {number} {n}"))).collect()
}

fn any_shown() -> impl Strategy<Value = Shown> {
    prop_oneof![
        (0..20_i64).prop_map(shown_step),
        (0..3_u128, 0..3).prop_map(|(number, n)| shown_code(&format!("code {number} {n}"))),
        (0..4_u128, 0..6_u128, 0..20_i64, 0..30_i64).prop_map(|(number, n, minute, counter)| {
            shown_passkey(number, ceremony(n, minutes(minute)), counter)
        }),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        1 => Just(Deed::Start),
        2 => (0..20_i64, 0..3_u128).prop_map(|(step, number)| Deed::Confirm(step, number)),
        1 => any::<bool>().prop_map(Deed::Disable),
        1 => (0..3_u128).prop_map(Deed::Replace),
        12 => any_shown().prop_map(Deed::StepUp),
        12 => prop::option::of(any_shown()).prop_map(Deed::LogIn),
        2 => (0..4_u128, 0..20_u128).prop_map(|(number, minute)| Deed::Add(number, minute)),
        1 => (0..4_u128).prop_map(Deed::Remove),
    ]
}

fn command(deed: Deed, user: &User, number: u128) -> UserCommand {
    let (session_id, credentials) = (session(1), user.credentials);
    match deed {
        Deed::Start => UserCommand::StartTotp(StartTotp {
            secret: sealed("secret"),
            session_id,
        }),
        Deed::Confirm(totp_step, number) => UserCommand::ConfirmTotp(ConfirmTotp {
            secret: sealed("secret"),
            totp_step,
            session_id,
            recovery_code_nonce: sealed("nonce"),
            recovery_code_hashes: codes(number),
        }),
        Deed::Disable(password_stands_alone) => UserCommand::DisableTotp(DisableTotp {
            by: FactorRemover::Owner {
                session_id,
                credentials,
                password_stands_alone,
            },
        }),
        Deed::Replace(number) => UserCommand::ReplaceRecoveryCodes(ReplaceRecoveryCodes {
            session_id,
            recovery_code_nonce: sealed("nonce"),
            recovery_code_hashes: codes(number),
        }),
        Deed::StepUp(shown) => UserCommand::StepUp(Box::new(StepUp {
            session_id,
            shown,
            methods: vec![],
            credentials,
        })),
        Deed::LogIn(shown) => {
            let mut login = login(session(number), minutes(300));
            let signature_counter = shown.as_ref().and_then(|shown| shown.signature_counter);
            login.factor = shown.map(|shown| shown.factor);
            UserCommand::LogIn(Box::new(LogIn {
                login,
                credentials,
                signature_counter,
                max_sessions: MAX_SESSIONS,
            }))
        }
        Deed::Add(number, minute) => {
            let UserEvent::PasskeyAdded(mut added) = passkey_added(number) else {
                unreachable!()
            };
            added.ceremony_id = ceremony(100, minutes(i64::try_from(minute).unwrap()));
            UserCommand::AddPasskey(Box::new(AddPasskey { added }))
        }
        Deed::Remove(number) => UserCommand::RemovePasskey(RemovePasskey {
            credential_id: credential(number),
            by: FactorRemover::Administrator,
        }),
    }
}

/// What has been used up so far.
#[derive(Default)]
struct Used {
    last_step: Option<i64>,
    codes: BTreeSet<Sha256Digest>,
    ceremonies: BTreeSet<CeremonyId>,
}

impl Used {
    fn follow(&mut self, event: &UserEvent) -> Result<(), TestCaseError> {
        match event {
            UserEvent::TotpEnabled(e) => {
                self.last_step = Some(e.totp_step);
                self.codes.clear();
            }
            UserEvent::RecoveryCodesReplaced(_) => self.codes.clear(),
            UserEvent::SessionSteppedUp(e) => self.once(&e.factor)?,
            UserEvent::LoggedIn(e) => e.factor.as_ref().map_or(Ok(()), |it| self.once(it))?,
            UserEvent::PasskeyAdded(e) => prop_assert!(self.ceremonies.insert(e.ceremony_id)),
            UserEvent::PasskeyCloneSuspected(e) => prop_assert!(self.ceremonies.insert(e.ceremony_id)),
            _ => {}
        }
        Ok(())
    }

    fn once(&mut self, factor: &Factor) -> Result<(), TestCaseError> {
        if let Some(step) = factor.totp_step {
            prop_assert!(self.last_step.is_some_and(|last| last < step));
            self.last_step = Some(step);
        }
        if let Some(code) = factor.recovery_code_hash {
            prop_assert!(self.codes.insert(code));
        }
        if let Some(ceremony) = factor.ceremony_id {
            prop_assert!(self.ceremonies.insert(ceremony));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However it is shown, and whatever is enrolled and removed in between; and nobody with a factor
    /// signs in without one.
    #[test]
    fn what_counts_once_counts_once(deeds in prop::collection::vec((any_deed(), 0..2_i64), 0..200)) {
        let mut user = User::default();
        user.apply(&registered());
        user.apply(&UserEvent::LoggedIn(login(session(1), minutes(300))));
        let (mut used, mut minute) = (Used::default(), 0);
        for (number, (deed, passed)) in (2..).zip(deeds) {
            minute += passed;
            let had_factors = user.factors.are_active();
            let command = command(deed, &user, number);
            let context = Context { now: minutes(minute) };
            for event in command.decide(&user, &context).unwrap_or_default() {
                if let UserEvent::LoggedIn(login) = &event {
                    prop_assert_eq!(login.factor.is_some(), had_factors);
                }
                used.follow(&event)?;
                user.apply(&event);
            }
            let snapshot = serde_json::to_string(&user).unwrap();
            prop_assert_eq!(&serde_json::from_str::<User>(&snapshot).unwrap(), &user);
            prop_assert!(user.factors.are_active() || user.factors.recovery_codes.is_empty());
        }
    }
}
