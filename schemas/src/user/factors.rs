//! Events of second factors: one-time passwords, recovery codes, passkeys.

use serde::{Deserialize, Serialize};

use super::Factor;
use crate::blind_index::BlindIndex;
use crate::encryption::Sealed;
use crate::sha256::Sha256Digest;
use ids::Timestamp;
use ids::{CeremonyId, CredentialId, SessionId};

/// Method references (RFC 8176) of what a second factor adds.
pub const ONE_TIME_PASSWORD: &str = "otp";
/// A key that stays in its device.
pub const HARDWARE_KEY: &str = "hwk";
/// A key that may be copied between devices.
pub const SOFTWARE_KEY: &str = "swk";
/// Something unlocked the key: a PIN, a finger.
pub const USER_VERIFIED: &str = "user";
pub const MULTIPLE_FACTORS: &str = "mfa";

/// A secret for one-time passwords was made; it counts once a code of it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "TotpEnrolmentStarted")]
pub struct TotpEnrolmentStarted {
    /// Base32, for RFC 6238 with SHA-1, steps of 30 s and 6 digits.
    pub secret: Sealed,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "TotpEnabled")]
pub struct TotpEnabled {
    /// It showed the first code, and so counts as signed in with both factors.
    pub session_id: SessionId,
    /// Time step of that code: it and earlier ones are used up.
    pub totp_step: i64,
    pub enabled_at: Timestamp,
    /// From it and the token key the codes can be derived again.
    pub recovery_code_nonce: Sealed,
    pub recovery_code_hashes: Vec<Sha256Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "TotpDisabled")]
pub struct TotpDisabled {
    pub by_administrator: bool,
}

/// New recovery codes; the earlier ones are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "RecoveryCodesReplaced")]
pub struct RecoveryCodesReplaced {
    /// From it and the token key the codes can be derived again.
    pub recovery_code_nonce: Sealed,
    pub recovery_code_hashes: Vec<Sha256Digest>,
}

/// A second factor was shown in a session that is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "SessionSteppedUp")]
pub struct SessionSteppedUp {
    pub session_id: SessionId,
    /// Method references of RFC 8176.
    pub methods: Vec<String>,
    pub factor: Factor,
    pub verified_at: Timestamp,
}

/// A WebAuthn credential was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasskeyAdded")]
pub struct PasskeyAdded {
    /// Rolecall's own.
    pub credential_id: CredentialId,
    /// Of the credential id that the authenticator made.
    pub credential_index: BlindIndex,
    /// Credential id and public key as JSON.
    pub passkey: Sealed,
    /// What its owner calls it.
    pub name: Sealed,
    /// 0 of an authenticator that does not count.
    pub signature_counter: i64,
    /// It may be synchronised between devices.
    pub is_backed_up: bool,
    pub ceremony_id: CeremonyId,
    /// It registered the passkey, and so counts as signed in with both factors.
    pub session_id: SessionId,
    pub added_at: Timestamp,
}

impl PasskeyAdded {
    /// Method references of whoever holds it (RFC 8176): with user verification it is two factors by itself.
    pub const fn methods(&self) -> [&'static str; 3] {
        let key = if self.is_backed_up {
            SOFTWARE_KEY
        } else {
            HARDWARE_KEY
        };
        [key, USER_VERIFIED, MULTIPLE_FACTORS]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasskeyRemoved")]
pub struct PasskeyRemoved {
    pub credential_id: CredentialId,
    pub by_administrator: bool,
}

/// The signature counter of a passkey went on with its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasskeyCounted")]
pub struct PasskeyCounted {
    pub credential_id: CredentialId,
    pub signature_counter: i64,
}

/// A passkey was refused: its counter did not go on, as if a copy had been used in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "PasskeyCloneSuspected")]
pub struct PasskeyCloneSuspected {
    pub credential_id: CredentialId,
    pub ceremony_id: CeremonyId,
    pub known_counter: i64,
    pub presented_counter: i64,
}
