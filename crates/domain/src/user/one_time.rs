//! Tokens and codes that went out to a person and may come back once.

use schemas::user::PhoneVerificationRequested;
use schemas::{BlindIndex, OneTimeId, Sealed, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Account, Error, User};

/// Wrong tries after which a short code is worth nothing.
pub const CODE_TRIES: u32 = 5;

/// A token that went to the e-mail address. The newest only: an older one died with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentToken {
    pub hash: Sha256Digest,
    pub expires_at: Timestamp,
}

impl SentToken {
    pub(super) const fn new(hash: Sha256Digest, expires_at: Timestamp) -> Self {
        Self { hash, expires_at }
    }

    pub fn is(&self, hash: Sha256Digest, now: Timestamp) -> bool {
        self.hash == hash && now < self.expires_at
    }
}

/// A code that went to the phone number, short enough to be guessed in a million tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCode {
    pub id: OneTimeId,
    /// The code is derived from it.
    pub nonce: Sealed,
    pub expires_at: Timestamp,
    pub failures: u32,
}

impl SentCode {
    pub(super) fn of(request: &PhoneVerificationRequested) -> Self {
        Self {
            id: request.code_id,
            nonce: request.nonce.clone(),
            expires_at: request.expires_at,
            failures: 0,
        }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.failures < CODE_TRIES
    }
}

/// Everything that is under way to one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub email_verification: Option<SentToken>,
    pub phone_verification: Option<SentCode>,
    pub password_reset: Option<SentToken>,
}

impl Sent {
    pub(super) fn count_wrong_code(&mut self) {
        if let Some(code) = &mut self.phone_verification {
            code.failures = code.failures.saturating_add(1);
        }
    }
}

impl User {
    pub(super) fn note_email_verified(&mut self) {
        self.sent.email_verification = None;
        if let Some(account) = &mut self.account {
            account.email_verified = true;
        }
    }

    pub(super) fn note_phone_verified(&mut self) {
        self.sent.phone_verification = None;
        if let Some(account) = &mut self.account {
            account.phone_verified = true;
        }
    }

    /// The account, if the address is the user's still.
    pub(super) fn at_address(&self, email_index: BlindIndex) -> Result<&Account, Error> {
        let account = self.active()?;
        if account.email_index == email_index {
            Ok(account)
        } else {
            Err(Error::ProfileChanged)
        }
    }
}

pub(super) fn require(sent: Option<&SentToken>, hash: Sha256Digest, now: Timestamp) -> Result<(), Error> {
    let fits = sent.is_some_and(|sent| sent.is(hash, now));
    if fits {
        Ok(())
    } else {
        Err(Error::InvalidOneTimeToken)
    }
}
