//! Tokens that go out by mail and codes that go out by phone, to come back once.
//!
//! Derived, not stored, as refresh tokens are: from the token key, an id and a nonce that lies encrypted
//! in the event. A token is its prefix and base64url of user id, token id and the HMAC; the log keeps its
//! SHA-256. A code is six digits of such an HMAC: so short that its hash would tell it, so there is none.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use schemas::{OneTimeId, Sha256Digest, UserId};
use service_kit::keys::TokenKey;
use uuid::Uuid;

/// How long tokens and codes are good, in seconds.
#[derive(Args, Clone, Copy, Debug)]
pub struct OneTimeConfig {
    #[arg(long, env = "ROLECALL_PASSWORD_RESET_TTL", default_value_t = 30 * 60, value_parser = clap::value_parser!(u64).range(1..))]
    password_reset_ttl: u64,
    #[arg(long, env = "ROLECALL_EMAIL_VERIFICATION_TTL", default_value_t = 24 * 3600, value_parser = clap::value_parser!(u64).range(1..))]
    email_verification_ttl: u64,
    #[arg(long, env = "ROLECALL_PHONE_VERIFICATION_TTL", default_value_t = 10 * 60, value_parser = clap::value_parser!(u64).range(1..))]
    phone_verification_ttl: u64,
}

impl OneTimeConfig {
    pub const fn password_reset(&self) -> Duration {
        Duration::from_secs(self.password_reset_ttl)
    }

    pub const fn email_verification(&self) -> Duration {
        Duration::from_secs(self.email_verification_ttl)
    }

    pub const fn phone_verification(&self) -> Duration {
        Duration::from_secs(self.phone_verification_ttl)
    }
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
}

impl Purpose {
    const fn prefix(self) -> &'static str {
        match self {
            Self::VerifyEmail => "ev1.",
            Self::ResetPassword => "pr1.",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "email-verification",
            Self::ResetPassword => "password-reset",
        }
    }
}

/// A token that somebody brings, or that goes out; only its hash in the log says whether it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTimeToken {
    purpose: Purpose,
    pub user_id: UserId,
    id: OneTimeId,
    mac: [u8; 32],
}

impl OneTimeToken {
    pub fn derive(key: &TokenKey, purpose: Purpose, user_id: UserId, id: OneTimeId, nonce: &str) -> Self {
        Self {
            purpose,
            user_id,
            id,
            mac: key.derive(purpose.name(), id.as_uuid(), 0, nonce.as_bytes()),
        }
    }

    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim().strip_prefix(purpose.prefix())?)
            .ok()?;
        let (user, rest) = bytes.split_first_chunk::<16>()?;
        let (id, mac) = rest.split_first_chunk::<16>()?;
        Some(Self {
            purpose,
            user_id: Uuid::from_bytes(*user).into(),
            id: Uuid::from_bytes(*id).into(),
            mac: mac.try_into().ok()?,
        })
    }

    pub fn text(&self) -> String {
        let bytes = [
            self.user_id.as_uuid().as_bytes().as_slice(),
            self.id.as_uuid().as_bytes(),
            &self.mac,
        ]
        .concat();
        format!("{}{}", self.purpose.prefix(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the log keeps of it.
    pub fn hash(&self) -> Sha256Digest {
        Sha256Digest::of(self.text().as_bytes())
    }
}

/// Six digits.
pub fn code(key: &TokenKey, id: OneTimeId, nonce: &str) -> String {
    let mac = key.derive("phone-verification", id.as_uuid(), 0, nonce.as_bytes());
    let number = mac.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{:06}", number % 1_000_000)
}

/// Without telling by the time it takes where they differ.
pub fn is_code(expected: &str, given: &str) -> bool {
    let digits: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    Sha256Digest::of(expected.as_bytes()) == Sha256Digest::of(digits.as_bytes())
}

/// What a token or code is derived from, besides its id and the key.
pub fn new_nonce() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::parse(&[7; 32]).unwrap()
    }

    #[test]
    fn a_token_is_derived_again_and_survives_its_text_form() {
        let (user, id) = (UserId::new_v7(), OneTimeId::new_v7());
        let derive = |purpose, nonce| OneTimeToken::derive(&key(), purpose, user, id, nonce);
        let token = derive(Purpose::ResetPassword, "nonce");
        assert_eq!(
            OneTimeToken::parse(Purpose::ResetPassword, &token.text()),
            Some(token)
        );
        assert_eq!(OneTimeToken::parse(Purpose::VerifyEmail, &token.text()), None);
        assert_eq!(derive(Purpose::ResetPassword, "nonce"), token);
        for other in [
            derive(Purpose::ResetPassword, "other"),
            derive(Purpose::VerifyEmail, "nonce"),
        ] {
            assert_ne!(other.hash(), token.hash());
        }
        for text in ["", "pr1.", "pr1.AAAA", "rt1.AAAA", &token.text()[1..]] {
            assert_eq!(OneTimeToken::parse(Purpose::ResetPassword, text), None, "{text}");
        }
    }

    #[test]
    fn a_code_has_six_digits_and_is_read_with_spaces() {
        let id = OneTimeId::new_v7();
        for number in 0..100 {
            let code = code(&key(), id, &number.to_string());
            assert!(
                code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()),
                "{code}"
            );
            assert!(is_code(&code, &format!(" {} {}", &code[..3], &code[3..])));
            assert!(!is_code(&code, &code[..5]));
        }
    }
}
