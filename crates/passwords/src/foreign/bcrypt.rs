//! bcrypt (Provos and Mazières, 1999) as modular crypt strings `$2a$`, `$2b$` and `$2y$`. `$2x$`, which marks hashes
//! made by a program with a fault, is none of them.

use std::str::FromStr;

use crate::stored::FormError;

/// Two to this power of rounds: 14 is about a second of one core.
const MOST_COST: u32 = 14;

pub struct BcryptHash {
    text: String,
    cost: u32,
}

impl BcryptHash {
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let parts = bcrypt::HashParts::from_str(text).map_err(|_| FormError::Malformed("bcrypt"))?;
        Ok(Self {
            text: text.to_owned(),
            cost: parts.get_cost(),
        })
    }

    pub fn is_bearable(&self) -> bool {
        self.cost <= MOST_COST
    }

    /// Only the first 72 bytes count, as everywhere that bcrypt is used.
    pub fn fits(&self, password: &[u8]) -> Option<bool> {
        // Compares in constant time.
        bcrypt::verify(password, &self.text).ok()
    }
}
