//! A user's second factors: what is enrolled, and what is used up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::user::{
    Factor, FactorKind, PasskeyAdded, PasskeyCloneSuspected, PasskeyCounted, TotpEnabled,
    TotpEnrolmentStarted, UserEvent,
};
use schemas::{BlindIndex, CeremonyId, CredentialId, Sealed, SessionId, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, User};

/// A user's passkeys.
pub const MAX_PASSKEYS: usize = 20;
/// Recovery codes that a user is given at once.
pub const RECOVERY_CODES: usize = 10;
/// So long an enrolment waits for its first code.
pub const ENROLMENT_LIVES: Duration = Duration::from_secs(10 * 60);
/// So long a challenge may be answered after it was made, which its id tells.
pub const CEREMONY_LIVES: Duration = Duration::from_secs(5 * 60);
/// So long a second factor that was shown covers what needs a recent one.
pub const ASSURED_FOR: Duration = Duration::from_secs(10 * 60);

/// The clock of whoever made a challenge may be ahead of the owner's by less than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    pub totp: Option<Totp>,
    /// Not confirmed; may have expired.
    pub enrolment: Option<TotpEnrolment>,
    pub passkeys: BTreeMap<CredentialId, Passkey>,
    /// Hashes of those not used. They stand in for a factor and are none by themselves.
    pub recovery_codes: BTreeSet<Sha256Digest>,
    /// Challenges that were answered and are not too old to be answered again.
    answered: BTreeSet<CeremonyId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    pub secret: Sealed,
    /// Time step of the last code taken: it and earlier ones are used up.
    pub last_step: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpEnrolment {
    pub secret: Sealed,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    pub credential_index: BlindIndex,
    pub passkey: Sealed,
    pub name: Sealed,
    /// 0 while its authenticator does not count.
    pub signature_counter: i64,
    pub is_backed_up: bool,
}

/// A factor shown, checked as far as that needs keys. Whether it is used up the owner decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub factor: Factor,
    /// Of a passkey, as its authenticator has it now.
    pub signature_counter: Option<i64>,
}

/// What showing a factor comes to.
pub(super) enum Verdict {
    /// It counts, with what else has to be recorded.
    Counts(Option<UserEvent>),
    /// The passkey may have been copied: this is recorded and nothing else.
    Refused(UserEvent),
}

impl Factors {
    /// Whether signing in takes a second factor.
    pub fn are_active(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    fn count(&self) -> usize {
        usize::from(self.totp.is_some()) + self.passkeys.len()
    }

    /// The enrolment, unless it took too long.
    pub fn enrolment(&self, now: Timestamp) -> Option<&TotpEnrolment> {
        self.enrolment.as_ref().filter(|it| now < it.expires_at)
    }

    pub fn passkey_by_index(&self, index: BlindIndex) -> Option<(CredentialId, &Passkey)> {
        let mut passkeys = self.passkeys.iter();
        passkeys
            .find(|(_, passkey)| passkey.credential_index == index)
            .map(|(id, passkey)| (*id, passkey))
    }

    /// Refuses a challenge that is too old or was answered before.
    pub(super) fn admit(&self, ceremony: CeremonyId, now: Timestamp) -> Result<(), Error> {
        let made = made_at(ceremony).ok_or(Error::CeremonyOver)?;
        let is_fresh = now < made.plus(CEREMONY_LIVES) && made < now.plus(CLOCKS_DIFFER);
        if is_fresh && !self.answered.contains(&ceremony) {
            Ok(())
        } else {
            Err(Error::CeremonyOver)
        }
    }

    pub(super) fn start(&mut self, event: &TotpEnrolmentStarted) {
        self.enrolment = Some(TotpEnrolment {
            secret: event.secret.clone(),
            expires_at: event.expires_at,
        });
    }

    pub(super) fn enable(&mut self, event: &TotpEnabled) {
        self.totp = self.enrolment.take().map(|enrolment| Totp {
            secret: enrolment.secret,
            last_step: event.totp_step,
        });
        self.replace_codes(&event.recovery_code_hashes);
    }

    pub(super) fn disable(&mut self) {
        self.totp = None;
        self.forget_useless_codes();
    }

    pub(super) fn replace_codes(&mut self, hashes: &[Sha256Digest]) {
        self.recovery_codes = hashes.iter().copied().collect();
    }

    pub(super) fn add(&mut self, event: &PasskeyAdded) {
        self.answer(event.ceremony_id);
        let passkey = Passkey {
            credential_index: event.credential_index,
            passkey: event.passkey.clone(),
            name: event.name.clone(),
            signature_counter: event.signature_counter,
            is_backed_up: event.is_backed_up,
        };
        self.passkeys.insert(event.credential_id, passkey);
    }

    pub(super) fn remove(&mut self, credential: CredentialId) {
        self.passkeys.remove(&credential);
        self.forget_useless_codes();
    }

    pub(super) fn count_on(&mut self, event: &PasskeyCounted) {
        if let Some(passkey) = self.passkeys.get_mut(&event.credential_id) {
            passkey.signature_counter = event.signature_counter;
        }
    }

    /// What can be used once is used up.
    pub(super) fn use_up(&mut self, factor: &Factor) {
        if let (Some(totp), Some(step)) = (&mut self.totp, factor.totp_step) {
            totp.last_step = totp.last_step.max(step);
        }
        if let Some(hash) = &factor.recovery_code_hash {
            self.recovery_codes.remove(hash);
        }
        if let Some(ceremony) = factor.ceremony_id {
            self.answer(ceremony);
        }
    }

    pub(super) fn suspect(&mut self, event: &PasskeyCloneSuspected) {
        self.answer(event.ceremony_id);
    }

    /// Forgets those that are too old by now: this one was made before now.
    fn answer(&mut self, ceremony: CeremonyId) {
        self.answered.insert(ceremony);
        if let Some(made) = made_at(ceremony) {
            let lives = CEREMONY_LIVES + CLOCKS_DIFFER;
            let may_come_again = |id: &CeremonyId| made_at(*id).is_some_and(|at| made < at.plus(lives));
            self.answered.retain(may_come_again);
        }
    }

    fn forget_useless_codes(&mut self) {
        if !self.are_active() {
            self.recovery_codes.clear();
        }
    }
}

/// When a UUIDv7 was made.
fn made_at(id: CeremonyId) -> Option<Timestamp> {
    let (seconds, nanos) = id.as_uuid().get_timestamp()?.to_unix();
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    micros
        .checked_add(i64::from(nanos / 1_000))
        .map(Timestamp::from_micros)
}

impl User {
    /// Judges a factor that was shown.
    pub(super) fn judge(&self, shown: &Shown, now: Timestamp) -> Result<Verdict, Error> {
        let Factor {
            kind,
            credential_id,
            totp_step,
            recovery_code_hash,
            ceremony_id,
        } = &shown.factor;
        match kind {
            FactorKind::Totp => {
                let totp = self.factors.totp.as_ref().ok_or(Error::NoSuchFactor)?;
                let is_new = totp_step.is_some_and(|step| step > totp.last_step);
                is_new.then_some(Verdict::Counts(None)).ok_or(Error::FactorUsedUp)
            }
            FactorKind::RecoveryCode => {
                let is_new = recovery_code_hash.is_some_and(|it| self.factors.recovery_codes.contains(&it));
                is_new.then_some(Verdict::Counts(None)).ok_or(Error::FactorUsedUp)
            }
            FactorKind::Passkey => {
                let ceremony = ceremony_id.ok_or(Error::CeremonyOver)?;
                self.factors.admit(ceremony, now)?;
                let counter = shown.signature_counter.unwrap_or(0);
                self.judge_passkey(credential_id.ok_or(Error::NoSuchFactor)?, ceremony, counter)
            }
            FactorKind::Other => Err(Error::NoSuchFactor),
        }
    }

    /// WebAuthn Level 3, section 7.2, step 22: a counter that does not go on means a copy.
    fn judge_passkey(&self, id: CredentialId, ceremony: CeremonyId, counter: i64) -> Result<Verdict, Error> {
        let passkey = self.factors.passkeys.get(&id).ok_or(Error::NoSuchFactor)?;
        let known = passkey.signature_counter;
        if known == 0 && counter == 0 {
            return Ok(Verdict::Counts(None));
        }
        if counter > known {
            return Ok(Verdict::Counts(Some(UserEvent::PasskeyCounted(PasskeyCounted {
                credential_id: id,
                signature_counter: counter,
            }))));
        }
        Ok(Verdict::Refused(UserEvent::PasskeyCloneSuspected(
            PasskeyCloneSuspected {
                credential_id: id,
                ceremony_id: ceremony,
                known_counter: known,
                presented_counter: counter,
            },
        )))
    }

    /// Refuses what needs a recent second factor in a session that has shown none, if the user has
    /// one at all.
    pub fn assured(&self, session: SessionId, now: Timestamp) -> Result<(), Error> {
        if !self.factors.are_active() {
            return Ok(());
        }
        let session = self.session(session, now).ok_or(Error::SessionEnded)?;
        let is_recent = |at: Timestamp| now < at.plus(ASSURED_FOR);
        if session.second_factor_at.is_some_and(is_recent) {
            Ok(())
        } else {
            Err(Error::StepUpRequired)
        }
    }

    /// Refuses to leave a user with a password alone that is too short for that.
    pub(super) fn keeps_enough(&self, password_stands_alone: bool) -> Result<(), Error> {
        if self.factors.count() <= 1 && !password_stands_alone {
            Err(Error::PasswordTooShort)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ceremony, minutes};

    #[test]
    fn a_challenge_is_admitted_once_and_for_five_minutes() {
        let mut factors = Factors::default();
        let challenge = ceremony(1, minutes(0));
        assert_eq!(factors.admit(challenge, minutes(4)), Ok(()));
        assert_eq!(factors.admit(challenge, minutes(5)), Err(Error::CeremonyOver));
        factors.answer(challenge);
        assert_eq!(factors.admit(challenge, minutes(4)), Err(Error::CeremonyOver));
        let from_the_future = ceremony(1, minutes(2));
        assert_eq!(
            factors.admit(from_the_future, minutes(0)),
            Err(Error::CeremonyOver)
        );
        let random = uuid::Uuid::from_u128(7).into();
        assert_eq!(factors.admit(random, minutes(0)), Err(Error::CeremonyOver));
    }

    #[test]
    fn answered_challenges_are_remembered_while_they_could_be_answered() {
        let mut factors = Factors::default();
        for minute in 0..100 {
            factors.answer(ceremony(1, minutes(minute)));
            let young = (minute - 4).max(0)..=minute;
            for at in young {
                let again = factors.admit(ceremony(1, minutes(at)), minutes(minute));
                assert_eq!(again, Err(Error::CeremonyOver), "{at} in {minute}");
            }
            assert!(factors.answered.len() <= 7);
        }
    }
}
