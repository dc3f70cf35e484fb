//! Recovery codes: for whoever lost the second factor. Each works once.
//!
//! A code is derived, not stored: the first 80 bits of HMAC(token key, "recovery-code", user id,
//! number, nonce) in base32. The log keeps its SHA-256 and, encrypted, the nonce, so that a lost
//! answer can be given again.

use domain::user::RECOVERY_CODES;
use schemas::{Sealed, Sha256Digest, UserId, sealed_field as field};
use service_kit::problem::Problem;
use totp_rs::Secret;
use uuid::Uuid;

use crate::app::App;
use crate::sealing::Seal;

/// Characters of a code: 80 bits in base32.
const LENGTH: usize = 16;
const GROUP: usize = 4;

/// What an event needs of new codes.
pub struct NewRecoveryCodes {
    pub nonce: Sealed,
    pub hashes: Vec<Sha256Digest>,
}

impl App {
    pub fn new_recovery_codes(&self, seal: &Seal, user: UserId) -> Result<NewRecoveryCodes, Problem> {
        let nonce = Uuid::new_v4().simple().to_string();
        let codes = self.codes_of(user, &nonce);
        Ok(NewRecoveryCodes {
            hashes: codes.iter().filter_map(|code| hash_of(code)).collect(),
            nonce: seal.seal(field::RECOVERY_CODE_NONCE, &nonce)?,
        })
    }

    /// As an event's nonce gives them.
    pub fn recovery_codes(&self, seal: &Seal, user: UserId, nonce: &Sealed) -> Result<Vec<String>, Problem> {
        let nonce = seal.open(field::RECOVERY_CODE_NONCE, nonce)?;
        Ok(self.codes_of(user, &nonce))
    }

    fn codes_of(&self, user: UserId, nonce: &str) -> Vec<String> {
        let of = |number: usize| {
            let number = number as u64;
            let mac = self
                .token_key
                .derive("recovery-code", user.as_uuid(), number, nonce.as_bytes());
            text(mac.first_chunk().copied().unwrap_or_default())
        };
        (0..RECOVERY_CODES).map(of).collect()
    }
}

/// In groups, such as `MFRG-GZDF-MZTW-Q2LK`.
fn text(bits: [u8; 10]) -> String {
    let letters: Vec<char> = Secret::new(Box::new(bits)).to_base32().chars().collect();
    let groups = letters
        .chunks(GROUP)
        .map(|group| group.iter().collect::<String>());
    groups.collect::<Vec<_>>().join("-")
}

/// What the log keeps of a code, however it is spelled; nothing for what cannot be one.
pub fn hash_of(code: &str) -> Option<Sha256Digest> {
    let letters = code.chars().filter(|c| *c != '-' && !c.is_whitespace());
    let letters: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let is_base32 = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    let is_code = letters.len() == LENGTH && letters.chars().all(is_base32);
    is_code.then(|| Sha256Digest::of(letters.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_in_every_spelling() {
        let code = text([0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a]);
        assert_eq!(code, "MFRG-GZDF-MZTW-Q2LK");
        for spelling in [
            "mfrg gzdf mztw q2lk",
            "MFRGGZDFMZTWQ2LK",
            " mfrg-gzdf-mztw-q2lk\n",
        ] {
            assert_eq!(hash_of(spelling), hash_of(&code), "{spelling}");
        }
        assert_eq!(hash_of(&code), Some(Sha256Digest::of(b"MFRGGZDFMZTWQ2LK")));
    }

    #[test]
    fn what_is_no_code_has_no_hash() {
        for text in [
            "",
            "MFRG",
            "MFRG-GZDF-MZTW-Q2L1",
            "MFRG-GZDF-MZTW-Q2LKA",
            "ŠFRGGZDFMZTWQ2L",
        ] {
            assert_eq!(hash_of(text), None, "{text}");
        }
    }
}
