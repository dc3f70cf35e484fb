//! Ceremonies of WebAuthn between their two calls: sealed text that the client keeps, so that any
//! instance can finish what another began.
//!
//! `wc1.` and base64url of a nonce (12 bytes) and, encrypted by AES-256-GCM under a key derived from
//! the token key, the ceremony as JSON. Its id tells when it was made, and the user's owner
//! remembers which ones were answered: each can be answered once, within five minutes.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::user::CEREMONY_LIVES;
use schemas::{CeremonyId, LogId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use service_kit::keys::TokenKey;
use service_kit::problem::{Problem, ProblemType};
use uuid::Uuid;
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyRegistration};

const PREFIX: &str = "wc1.";
const NONCE: usize = 12;

#[derive(Serialize, Deserialize)]
pub struct Ceremony {
    pub id: CeremonyId,
    pub purpose: Purpose,
}

#[derive(Serialize, Deserialize)]
pub enum Purpose {
    /// The password was asked for.
    Register {
        user: UserId,
        session: SessionId,
        state: PasskeyRegistration,
    },
    /// Signing in, or a second factor.
    Authenticate {
        /// Whoever it is, if nobody was named.
        user: Option<UserId>,
        state: DiscoverableAuthentication,
    },
}

/// Seals and opens the ceremonies of one log.
pub struct Ceremonies {
    cipher: Aes256Gcm,
    log: LogId,
}

impl Ceremonies {
    pub fn new(key: &TokenKey, log: LogId) -> Self {
        let key = key.derive("ceremony", Uuid::nil(), 0, log.as_uuid().as_bytes());
        Self {
            cipher: Aes256Gcm::new(&key.into()),
            log,
        }
    }

    pub fn seal(&self, purpose: Purpose) -> Result<String, Problem> {
        let id = CeremonyId::new_v7();
        let json =
            serde_json::to_vec(&Ceremony { id, purpose }).map_err(|error| Problem::internal(&error))?;
        let nonce: [u8; NONCE] = rand::random();
        let log = self.log.as_uuid();
        let (msg, aad) = (json.as_slice(), log.as_bytes().as_slice());
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg, aad })
            .map_err(|_| Problem::new(ProblemType::Internal))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Refuses what was not sealed here, or is too old by now.
    pub fn open(&self, text: &str) -> Result<Ceremony, Problem> {
        let opened = self.decrypt(text);
        let ceremony: Ceremony = opened
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| invalid("this is not a ceremony of this service"))?;
        let made = ceremony.id.as_uuid().get_timestamp();
        let age = made.map(|made| {
            let (seconds, nanos) = made.to_unix();
            let micros = seconds.saturating_mul(1_000_000) + u64::from(nanos / 1_000);
            Timestamp::now().since(Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)))
        });
        if age.is_none_or(|age| age >= CEREMONY_LIVES) {
            return Err(invalid("the ceremony took too long"));
        }
        Ok(ceremony)
    }

    fn decrypt(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (nonce, msg) = bytes.split_first_chunk::<NONCE>()?;
        let log = self.log.as_uuid();
        let aad = log.as_bytes().as_slice();
        self.cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg, aad })
            .ok()
    }
}

pub fn invalid(detail: &'static str) -> Problem {
    Problem::new(ProblemType::InvalidCeremony).detail(detail)
}
