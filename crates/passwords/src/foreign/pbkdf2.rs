//! PBKDF2 (RFC 8018) with HMAC of SHA-1, SHA-256 or SHA-512: modular crypt strings `$pbkdf2-sha256$29000$salt$hash`, as
//! passlib makes them (`$pbkdf2$` is SHA-1), and PHC strings `$pbkdf2-sha256$i=600000,l=32$salt$hash`.

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{base64, decimal, is_digest};
use crate::stored::{FormError, equal};

/// Rounds, over all blocks: about a second of one core.
const MOST_ROUNDS: u64 = 2_000_000;

#[derive(Clone, Copy)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    fn bytes(self) -> u64 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

pub struct Pbkdf2Hash {
    digest: Digest,
    rounds: u32,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Pbkdf2Hash {
    pub fn parse(text: &str) -> Result<Self, FormError> {
        Self::read(text).ok_or(FormError::Malformed("PBKDF2"))
    }

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('$').collect();
        let [_, name, params, salt, hash] = parts.try_into().ok()?;
        let digest = match name {
            "pbkdf2" | "pbkdf2-sha1" => Digest::Sha1,
            "pbkdf2-sha256" => Digest::Sha256,
            "pbkdf2-sha512" => Digest::Sha512,
            _ => return None,
        };
        let expected = base64(hash).filter(|hash| is_digest(hash))?;
        let rounds = match params.strip_prefix("i=") {
            None => decimal(params)?,
            Some(params) => {
                let (rounds, length) = params.split_once(',').unwrap_or((params, ""));
                let length = match length {
                    "" => expected.len(),
                    named => usize::try_from(decimal(named.strip_prefix("l=")?)?).ok()?,
                };
                decimal(rounds).filter(|_| length == expected.len())?
            }
        };
        Some(Self {
            digest,
            rounds: Some(rounds).filter(|rounds| *rounds > 0)?,
            salt: base64(salt)?,
            expected,
        })
    }

    pub fn is_bearable(&self) -> bool {
        let blocks = (self.expected.len() as u64).div_ceil(self.digest.bytes());
        u64::from(self.rounds) * blocks <= MOST_ROUNDS
    }

    pub fn fits(&self, password: &[u8]) -> bool {
        let mut computed = vec![0; self.expected.len()];
        match self.digest {
            Digest::Sha1 => pbkdf2_hmac::<Sha1>(password, &self.salt, self.rounds, &mut computed),
            Digest::Sha256 => pbkdf2_hmac::<Sha256>(password, &self.salt, self.rounds, &mut computed),
            Digest::Sha512 => pbkdf2_hmac::<Sha512>(password, &self.salt, self.rounds, &mut computed),
        }
        equal(&computed, &self.expected)
    }
}
