//! Keys of service accounts: what programs bring instead of an access token.
//!
//! `rolecall_sk_` and base64url of account id, key id, HMAC(token key, "service-key", key id, 1, nonce) and a checksum,
//! the first 4 bytes of a SHA-256 over all before it. The prefix and the checksum let scanners for leaked secrets find
//! keys and nothing else. The log keeps a key's SHA-256 and, encrypted, the nonce: the answer that showed it can be given
//! again, and nobody who reads the log can make one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{KeyId, Sha256Digest, UserId};
use uuid::Uuid;

use crate::buckets::Buckets;
use crate::keys::TokenKey;
use crate::problem::{Problem, ProblemType};

pub const PREFIX: &str = "rolecall_sk_";
const CHECKSUM: usize = 4;

/// A key that somebody brings. Only its hash in the log says whether it is a true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    pub user_id: UserId,
    pub key_id: KeyId,
    mac: [u8; 32],
}

impl ServiceKey {
    pub fn derive(key: &TokenKey, user_id: UserId, key_id: KeyId, nonce: &str) -> Self {
        Self {
            user_id,
            key_id,
            mac: key.derive("service-key", key_id.as_uuid(), 1, nonce.as_bytes()),
        }
    }

    /// Nothing for what is no key, or was mistyped.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (user, rest) = bytes.split_first_chunk::<16>()?;
        let (key, rest) = rest.split_first_chunk::<16>()?;
        let (mac, checksum) = rest.split_first_chunk::<32>()?;
        let parsed = Self {
            user_id: Uuid::from_bytes(*user).into(),
            key_id: Uuid::from_bytes(*key).into(),
            mac: *mac,
        };
        (checksum == parsed.checksum()).then_some(parsed)
    }

    pub fn text(&self) -> String {
        let bytes = [self.body().as_slice(), &self.checksum()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the log keeps of it.
    pub fn hash(&self) -> Sha256Digest {
        Sha256Digest::of(self.text().as_bytes())
    }

    fn body(&self) -> Vec<u8> {
        let (user, key) = (self.user_id.as_uuid(), self.key_id.as_uuid());
        [user.as_bytes().as_slice(), key.as_bytes(), &self.mac].concat()
    }

    fn checksum(&self) -> [u8; CHECKSUM] {
        let digest = Sha256Digest::of(&[PREFIX.as_bytes(), &self.body()].concat());
        digest.0.first_chunk().copied().unwrap_or_default()
    }
}

/// Wrong keys a minute for one account; further ones are answered 429. Right ones always pass: whoever knows an
/// account's id must not be able to shut its programs out.
const GUESSES: u32 = 30;

/// Wrong and unknown keys, by account.
pub struct KeyGuesses(Buckets<UserId>);

impl Default for KeyGuesses {
    fn default() -> Self {
        Self(Buckets::a_minute(GUESSES))
    }
}

impl KeyGuesses {
    /// One more for this account; refuses if there were too many.
    pub fn note(&self, account: UserId) -> Result<(), Problem> {
        metrics::counter!("service_keys_refused_total").increment(1);
        let taken = self.0.take(&account);
        taken.map_err(|wait| Problem::new(ProblemType::TooManyAttempts).retry_after(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ServiceKey {
        let token_key = TokenKey::parse(&[7; 32]).unwrap();
        ServiceKey::derive(&token_key, UserId::new_v7(), KeyId::new_v7(), "nonce")
    }

    #[test]
    fn a_key_survives_its_text_form_and_every_typo_shows() {
        let key = key();
        let text = key.text();
        assert_eq!(ServiceKey::parse(&text), Some(key));
        for at in 0..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(ServiceKey::parse(&typo), None, "byte {at}");
        }
        for text in [
            "",
            PREFIX,
            "rolecall_sk_AAAA",
            "rt1.AAAA",
            &text[1..],
            &format!("{text}AAAA"),
        ] {
            assert_eq!(ServiceKey::parse(text), None, "{text}");
        }
    }

    /// What a scanner for leaked secrets looks for.
    #[test]
    fn keys_have_one_recognisable_form() {
        let text = key().text();
        let body = text.strip_prefix(PREFIX).unwrap();
        assert_eq!(body.len(), 91);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        assert!(body.bytes().all(allowed));
    }

    #[test]
    fn guesses_at_one_account_are_limited_and_others_are_not() {
        let (guesses, account) = (KeyGuesses::default(), UserId::new_v7());
        for _ in 0..GUESSES {
            guesses.note(account).unwrap();
        }
        assert_eq!(guesses.note(account).unwrap_err().status(), 429);
        guesses.note(UserId::new_v7()).unwrap();
    }
}
